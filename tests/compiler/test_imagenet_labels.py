"""Class numbers, names and wnids of ImageNet-1k agree with what everybody uses."""

from compiler.imagenet_labels import class_names, wnid_to_index, wnids


def test_there_are_a_thousand_classes_from_tench_to_toilet_tissue() -> None:
    names = class_names()

    assert len(names) == 1000
    assert names[0] == "tench, Tinca tinca"
    assert names[999].startswith("toilet tissue")


def test_imagenettes_ten_classes_have_their_known_numbers() -> None:
    ten = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079"]
    ten += ["n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]

    numbers = [wnid_to_index()[wnid] for wnid in ten]

    assert numbers == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]


def test_wnids_are_sorted_and_invert_the_table() -> None:
    assert list(wnids()) == sorted(wnids())
    assert [wnid_to_index()[wnid] for wnid in wnids()] == list(range(1000))
