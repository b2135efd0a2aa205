"""The words by which columns of tables and endings of tars tell images from masks."""

IMAGE_WORDS = ("image", "img", "images", "pixel_values", "picture", "photo", "rgb", "input")
MASK_WORDS = (
    *("mask", "label", "labels", "annotation", "segmentation", "seg", "gt", "semantic"),
    *("segmentation_mask", "semantic_mask", "semantic_segmentation", "label_map", "target"),
    *("masks", "ann", "anno", "annot", "segmap", "semseg", "sem_seg"),
    *("ground_truth", "groundtruth"),
)
