"""Caches in S3, of a server on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import add_splits, content_of
from slt_cache.features.place import UrlPath, located
from slt_cache.features.verify import cache_problems
from tests.helpers.caches import IDS, facts_of, rows_of

server = pytest.importorskip("moto.server", reason="no moto here: pip install 'moto[server]' s3fs")
s3fs = pytest.importorskip("s3fs", reason="no s3fs here: pip install 'moto[server]' s3fs")


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of a new server, without any other credentials."""
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.mkdir("bucket")
    yield system
    system.rm("bucket", recursive=True)  # servers of one process share what they store
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.mark.parametrize("max_bytes", [None, 16_500])
def test_a_cache_in_s3_gives_what_a_local_one_gives(tmp_path: Path, storage: Any, max_bytes: int | None) -> None:
    path = tmp_path / "feats.h5"
    add_splits(path, [content_of(facts_of(), rows_of())], max_bytes=max_bytes)
    storage.put(str(path), "bucket/feats.h5", recursive=path.is_dir())
    here, there = FeatureCache(path, "train"), FeatureCache("s3://bucket/feats.h5", "train")
    assert there.ids == here.ids and there.texts == here.texts
    with mock.patch.object(UrlPath, "read_range", autospec=True, side_effect=UrlPath.read_range) as read:
        assert all(np.array_equal(there[clip_id], here[clip_id]) for clip_id in IDS)
    assert sum(call.args[2] - call.args[1] for call in read.call_args_list) < 1000  # the features, and no file
    assert not cache_problems(located("s3://bucket/feats.h5"))
    with pytest.raises(InputError, match=r"s3://bucket/none\.h5: there is no such feature cache"):
        FeatureCache("s3://bucket/none.h5", "train")


def test_a_server_that_does_not_answer_is_said(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match=r"s3://bucket/feats\.h5: cannot be read"):
        FeatureCache("s3://bucket/feats.h5", "train")
