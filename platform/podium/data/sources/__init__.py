"""Sources: where samples come from. Each gives a cheap fingerprint, and its records in blocks.

A fingerprint imports none of pyarrow, Pillow, mlxtend and their like: prepared data needs no more.
"""

from pathlib import Path

from podium.data.records import Source
from podium.data.sources.arrays import Arrays
from podium.data.sources.built_in import BUILT_IN
from podium.data.sources.files import Files
from podium.data.sources.function import Function
from podium.data.sources.images import ENDINGS, Images
from podium.data.sources.tables import Tables
from podium.data.sources.tars import Tars
from podium.spec.data import ArraysSource, DataSettings, ImagesSource, TarSource


def make_source(settings: DataSettings, base: Path, cache: Path | None = None) -> Source:
    """The source that `settings` name.

    Args:
        settings: Those of the data.
        base: The sweep file's folder, which paths are relative to.
        cache: Where this host keeps what it knows of files; None for nowhere.
    """
    source = settings.source
    if isinstance(source, str):
        return BUILT_IN[source] if source in BUILT_IN else Function(source, base)
    if isinstance(source, ArraysSource):
        return Arrays(source, Files(source.path, base, cache))
    if isinstance(source, ImagesSource):
        masks = None if source.masks is None else Files(source.masks, base, cache, ENDINGS, "data.source.masks")
        return Images(source, Files(source.path, base, cache, ENDINGS), masks)
    if isinstance(source, TarSource):
        return Tars(source, Files(source.path, base, cache, (".tar",)))
    return Tables(source, settings, base, cache)
