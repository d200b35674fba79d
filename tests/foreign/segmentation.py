"""torchvision's LR-ASPP on MobileNetV3: inverted residuals, depthwise convolutions, squeeze-excitation, a dict out."""


def build():
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


def build_fcn():
    from torchvision.models.segmentation import fcn_resnet50

    return fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)
