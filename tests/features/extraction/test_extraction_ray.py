"""Extraction on a Ray cluster: the loss of a machine costs nothing but time."""

import os
import threading
import time
from pathlib import Path

import pytest
from support.job_folders import contents, reasons
from support.rendered import render_video

from bsp_hf import extract_features
from bsp_hf.features.extraction import ray_workers

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

NUM_VIDEOS = 12


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        render_video(folder / f"{number:02d}.mp4", 200 + 8 * number, size=(48, 40))
    (folder / "broken.mp4").write_bytes(b"\0" * 100)
    return folder


@pytest.fixture
def cluster():
    """Two nodes with room for one encoder each; the first is the head."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Beside other work, actors would hardly start.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    options = {"num_cpus": 1, "object_store_memory": 100_000_000}
    started = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    started.add_node(**options)
    started.wait_for_nodes()
    yield started
    ray.shutdown()
    started.shutdown()


def test_a_run_that_loses_a_node_ends_as_one_that_lost_none(videos, tiny_encoder, cluster, tmp_path):
    options = {"num_threads": 1, "show_progress": False}
    whole = extract_features(videos, tiny_encoder, tmp_path / "whole", **options)
    output = tmp_path / "ray"
    lost = []

    def lose_node():
        while len(list(output.glob("*.npy"))) < 3:
            time.sleep(0.01)
        used = ray.available_resources().get("CPU", 0)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        lost.append((used, len(list(output.glob("*.npy")))))

    watcher = threading.Thread(target=lose_node)
    watcher.start()
    report = extract_features(videos, tiny_encoder, output, ray=cluster.address, **options)
    watcher.join()
    ((num_free_cpus, num_done),) = lost
    # Both nodes were at work, and had more to do.
    assert num_free_cpus == 0 and num_done < NUM_VIDEOS
    assert sorted(report.done) == sorted(whole.done) and len(report.done) == NUM_VIDEOS
    assert len(report.failed) == 1 and report.exit_status == 1
    assert contents(output) == contents(tmp_path / "whole")
    assert set(reasons(output / "failures.csv")) == {"broken.mp4"}
    # Another run on what is left of the cluster has nothing to do.
    again = extract_features(videos, tiny_encoder, output, ray=cluster.address, **options)
    assert not again.done and len(again.skipped) == NUM_VIDEOS


def test_a_cluster_that_does_not_answer_is_named(videos, tiny_encoder, tmp_path):
    with pytest.raises(ValueError, match=r"--ray 127\.0\.0\.1:1: no cluster answers"):
        extract_features(videos, tiny_encoder, tmp_path, ray="127.0.0.1:1", show_progress=False)


def test_an_encoder_that_cannot_be_loaded_ends_the_job_with_its_own_error(videos, cluster, tmp_path):
    with pytest.raises((OSError, ValueError), match="nowhere"):
        extract_features(
            videos, tmp_path / "nowhere", tmp_path / "out", ray=cluster.address, show_progress=False
        )


def test_actors_take_a_gpu_each_or_their_threads():
    from bsp_hf.features.extraction.settings import ExtractionSettings

    choose = ray_workers._choose_resource
    assert choose(ExtractionSettings(), {"CPU": 16.0, "GPU": 2.0}) == ("GPU", 1)
    assert choose(ExtractionSettings(device="cpu", num_threads=4), {"CPU": 16.0, "GPU": 2.0}) == ("CPU", 4)
    assert choose(ExtractionSettings(), {"CPU": 16.0}) == ("CPU", 1)
