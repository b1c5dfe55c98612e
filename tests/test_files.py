"""Files: whole or not at all, of known size, named in every error."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from unlearning import files
from unlearning.errors import InputError


def _dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


class TestWriting:
    def test_the_old_content_stays_when_writing_fails(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        files.write_text(path, "old")
        with pytest.raises(RuntimeError), files.writing(path) as aside:
            aside.write_text("half")
            assert path.read_text() == "old" and aside.parent == path.parent and aside.suffix == ".txt"
            raise RuntimeError
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]

    def test_the_umask_decides_who_may_read(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            files.write_text(tmp_path / "a", "x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640

    def test_a_disk_that_is_full_only_when_synced(self, tmp_path: Path, monkeypatch) -> None:
        files.write_text(tmp_path / "a", "old")

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            files.write_text(tmp_path / "a", "new")
        assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]

    def test_file_and_folder_are_synced(self, tmp_path: Path, monkeypatch) -> None:
        synced: list[str] = []
        there = os.fsync
        monkeypatch.setattr(os, "fsync", lambda h: (synced.append(os.readlink(f"/proc/self/fd/{h}")), there(h)))
        files.write_text(tmp_path / "a.txt", "x")
        assert [Path(name).suffix for name in synced] == [".txt", ""] and synced[1] == str(tmp_path)

    def test_what_killed_writers_left_goes_with_the_next_write(self, tmp_path: Path) -> None:
        with files.writing(tmp_path / "a.csv") as here:
            dead = here.with_name(here.name.replace(f"-{os.getpid()}-", f"-{_dead_process()}-"))
            elsewhere = here.with_name(".partial-00000000-1-0123abcd.csv")
            ancient = here.with_name(".partial-1-0123abcd.csv")
            earlier, kept = tmp_path / ".partial-abc_1234.json", tmp_path / ".partial-notes-of-mine"
            for path in (dead, elsewhere, earlier, kept, ancient):
                path.write_text("half")
            (tmp_path / "target").write_text("kept")
            linked = here.with_name(f".partial-{files._host()}-{_dead_process()}-00000000")
            linked.symlink_to(tmp_path / "target")
            files.write_text(tmp_path / "b.csv", "x")
            assert not dead.exists() and here.exists() and elsewhere.exists() and earlier.exists()
            for path in (elsewhere, earlier, kept):
                os.utime(path, (0, 0))
            files.write_text(tmp_path / "b.csv", "x")
            assert not elsewhere.exists() and not earlier.exists()
            assert kept.exists() and linked.is_symlink() and here.exists()

    def test_a_link_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("kept")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        files.write_text(tmp_path / "link", "new")
        assert (tmp_path / "target").read_text() == "kept" and not (tmp_path / "link").is_symlink()

    def test_tables(self, tmp_path: Path) -> None:
        files.write_table(tmp_path / "t.csv", [{"step": 0, "a": 1.5}, {"step": 1, "b": "x,y"}])
        assert (tmp_path / "t.csv").read_text() == 'step,a,b\n0,1.5,\n1,,"x,y"\n'


class TestReading:
    def test_missing_and_large_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"`x`.*existing \.npz file.*nothing"):
            files.check_file("x", tmp_path / "nothing", 10, ".npz file")
        (tmp_path / "big").write_text("a" * 11)
        with pytest.raises(InputError, match="at most 10 bytes"):
            files.read_text("x", tmp_path / "big", 10)
        with pytest.raises(InputError, match="existing"):
            files.check_file("x", tmp_path, 10)

    def test_text_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="Cannot read"):
            files.read_text("x", tmp_path / "a", 10)

    @pytest.mark.parametrize(
        ("content", "match"), [("", "no first line"), ("a,a\n1,2\n", "twice"), ("a,\n1,2\n", "without a name")]
    )
    def test_csv_columns(self, content: str, match: str, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(InputError, match=match), files.open_csv("x", tmp_path / "a.csv", 100):
            pass

    def test_a_byte_order_mark_is_no_part_of_a_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfrow,b\n1,2\n")
        with files.open_csv("x", tmp_path / "a.csv", 100) as reader:
            assert [*reader] == [{"row": "1", "b": "2"}]


class TestPlain:
    def test_links_and_folders_are_not(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        plain = [name for name in ("file", "link", "nothing", ".") if files.is_plain(tmp_path / name)]
        assert plain == ["file"]


class TestTable:
    @pytest.mark.parametrize("content", ["a,b\n1\n", "a,b\n1,2,3\n", "a,b\n1,\0\n"])
    def test_lines_that_do_not_fit(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(InputError, match="line 2"):
            files.read_table(tmp_path / "t.csv")

    def test_no_file_has_no_rows(self, tmp_path: Path) -> None:
        assert files.read_table(tmp_path / "nothing.csv") == []


class TestGuard:
    def test_what_is_there_or_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "file").write_text("x")
        for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "file", tmp_path / "new" / "file"):
            assert files.real_below(tmp_path, path) == path
        (tmp_path / "link").symlink_to(tmp_path / "a")  # how the root is reached is the user's choice
        assert files.read_below(tmp_path / "link", tmp_path / "link" / "file", 1) == b"x"

    def test_links_on_the_way_and_at_the_end(self, tmp_path: Path) -> None:
        inside, outside = tmp_path / "in", tmp_path / "out"
        inside.mkdir()
        outside.mkdir()
        (outside / "secret").write_text("x")
        (inside / "folder").symlink_to(outside)
        (inside / "file").symlink_to(outside / "secret")
        (inside / "loop").symlink_to(inside / "loop")
        (inside / "dead").symlink_to(outside / "nothing")
        for name in ("folder", "folder/secret", "folder/new", "file", "loop", "loop/x", "dead"):
            with pytest.raises(InputError, match="is a link"):
                files.real_below(inside, inside / name)
            with pytest.raises(InputError, match="is a link"):
                files.read_below(inside, inside / name, 10)
        for path in (outside / "secret", inside / ".." / "out" / "secret"):
            with pytest.raises(InputError, match="does not stand in"):
                files.real_below(inside, path)

    def test_pipes_files_on_the_way_and_second_names(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "file").write_text("12345")
        with pytest.raises(InputError, match="neither"):
            files.read_below(tmp_path, tmp_path / "pipe", 10)
        with pytest.raises(InputError, match="no folder"):
            files.real_below(tmp_path, tmp_path / "file" / "x")
        with pytest.raises(InputError, match="at most 4 bytes"):
            files.read_below(tmp_path, tmp_path / "file", 4)
        files.real_below(tmp_path, tmp_path / "file", alone=True)
        os.link(tmp_path / "file", tmp_path / "again")
        assert files.read_below(tmp_path, tmp_path / "again", 5) == b"12345"
        with pytest.raises(InputError, match="second name"):
            files.real_below(tmp_path, tmp_path / "again", alone=True)
