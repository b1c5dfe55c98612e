"""CVAT's XML for images, version 1.1: suspects go out with a tag that is their suggested label, tags come back.

The archive is one of "CVAT for images": `annotations.xml`, and in `images/` pictures of rows that are no files. Tags
are read whoever set them: one that a person left alone is a suggestion that was right. An image without a tag is
undecided.

https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/, https://docs.cvat.ai/docs/dataset_management/formats/xml_format/
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unlearning.errors import InputError, one_line
from unlearning.files import writing
from unlearning.review.exchange.decisions import REMOVE, Decision, Pictures, find_row, has_pictures, label_of, name_row
from unlearning.review.sheet import Sheet

FILES = ("-cvat.zip",)
SHOWS_TEXT = False
ANNOTATIONS = "annotations.xml"


def write(paths: tuple[Path, ...], sheet: Sheet) -> None:
    """Writes the archive.

    Args:
        paths: The `.zip` file.
        sheet: What is asked.
    """
    names, own = sheet.source.names(), has_pictures(sheet)
    shape: Any = sheet.source.split.images.shape
    size = {"width": str(shape[2]), "height": str(shape[1])} if len(shape) > 2 else {"width": "0", "height": "0"}
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for tag, text in (("name", "suspects"), ("size", str(len(sheet.rows))), ("mode", "annotation")):
        ElementTree.SubElement(task, tag).text = text
    labels = ElementTree.SubElement(task, "labels")
    for name in (*names, REMOVE):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "tag"
        ElementTree.SubElement(label, "attributes")
    pictures = Pictures(sheet)
    with writing(paths[0]) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(len(sheet.rows)):
            name = name_row(sheet, place) + (".png" if sheet.source.files is None else "")
            image = ElementTree.SubElement(root, "image", {"id": str(place), "name": name, **size})
            if sheet.suggested[place] != sheet.given[place]:
                ElementTree.SubElement(image, "tag", label=names[int(sheet.suggested[place])], source="auto")
            if own:
                archive.writestr(f"images/{name}", pictures.png(place))
        ElementTree.indent(root)
        archive.writestr(ANNOTATIONS, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def read(text: str, source: str) -> list[Decision]:
    """Reads the tags of images.

    Args:
        text: The XML.
        source: Where it was read, for messages.

    Returns:
        One decision an image with a tag.

    Raises:
        InputError: If it is no such file, or an image has several tags.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # what could grow, or read other files, CVAT never writes
        raise InputError(f"{source} declares a document type, which CVAT never does.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {source} as XML: {one_line(error)}") from error
    if root.tag != "annotations":
        raise InputError(f"{source} is no file of CVAT for images: it begins with <{root.tag[:50]}>.")
    found = []
    for image in root.iter("image"):
        name, tags = image.get("name"), {tag.get("label") for tag in image.findall("tag")}
        if not name or not tags:
            continue
        if len(tags) > 1:
            raise InputError(f"{source}: the image {name[:100]!r} has several tags, and a row has one label.")
        row = find_row(name)
        found.append(Decision(row, None if row is not None else name, label_of(tags.pop())))
    return found
