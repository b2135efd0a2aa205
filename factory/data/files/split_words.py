"""What people call the parts of a dataset: those to learn from, and those to measure on."""

TRAIN_SPLITS = ("train", "training", "trainval", "labelled", "labeled", "tr")
TEST_SPLITS = ("test", "testing", "val", "valid", "validation", "dev", "eval")
SPLITS = (*TRAIN_SPLITS, *TEST_SPLITS)
