# SPDX-License-Identifier: Apache-2.0
"""Holds:   images that lived through random histories, made by us or by the real programs, read the
         same by us, by qemu-img and by libqcow, and every check finds them clean; a difference is
         found, and named.
Method:  a small fixed slice of the seeds that `./blockstep histories` goes through; and images
         spoilt on purpose.
"""
import subprocess
import sys

import pytest

from blockstep import histories

SLICE = range(8)


@pytest.mark.parametrize("seed", SLICE)
@pytest.mark.parametrize("lived_by_us", (True, False), ids=("ours", "theirs"))
def test_histories_read_the_same(seed, lived_by_us, tmp_path):
    histories.verify(histories.draw(seed), tmp_path, lived_by_us)


def test_slice_has_every_kind_of_step_and_reader():
    drawn = [histories.draw(seed) for seed in SLICE]
    actions = {step.action for history in drawn for steps in history.steps for step in steps}
    assert actions == {"write", "zero", "unmap", "discard", "flush"}
    assert {layer.version for history in drawn for layer in history.layers} == {2, 3}
    assert max(len(history.layers) for history in drawn) == 3
    assert {history.may_have_zero_clusters for history in drawn} == {True, False}


def test_a_reader_that_differs_is_named(tmp_path, monkeypatch):
    def misread(folder, name):
        contents = bytearray(read_by_qemu(folder, name))
        contents[512] ^= 1
        return bytes(contents)

    read_by_qemu = histories.read_by_qemu
    monkeypatch.setattr(histories, "read_by_qemu", misread)
    with pytest.raises(histories.Mismatch, match="history 1: qemu-img reads 1 sectors otherwise, "
                                                 "the first is 1"):
        histories.verify(histories.draw(1), tmp_path, lived_by_us=True)


def test_an_image_that_is_not_clean_is_found(tmp_path, monkeypatch):
    live_for_real = histories.live_for_real

    def spoil(history, folder):
        live_for_real(history, folder)
        image = bytearray((folder / histories.image_name(0)).read_bytes())
        at = int.from_bytes(image[40:48], "big")
        while not any(image[at:at + 8]):
            at += 8
        image[at] &= 0x7f  # the first L1 entry in use loses its COPIED bit
        (folder / histories.image_name(0)).write_bytes(image)

    monkeypatch.setattr(histories, "live_for_real", spoil)
    with pytest.raises(histories.Mismatch, match="our check of layer0.qcow2"):
        histories.verify(histories.draw(1), tmp_path, lived_by_us=False)


def test_command_counts(tmp_path):
    done = subprocess.run([sys.executable, "-P", "-m", "blockstep", "histories", "--count", "2"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 histories in both directions" in done.stdout
    assert done.stdout.endswith("0 differ\n")
