"""Damaged and malicious lists of flagged rows: one clear line, bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hostile import FUZZ, MEGABYTE, bounded, refused
from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged


class TestFlaggedRows:
    @pytest.mark.parametrize(
        "content",
        [
            b"row,corrected_label\n\0,1\n",
            b"row,corrected_label\n1\0,1\n",
            b'row,corrected_label\n"1,1\n',
            b'row,corrected_label\n"1"x,1\n',
            b"row,corrected_label\n" + b"1" * 2 * MEGABYTE + b",1\n",
            b'row,corrected_label\n"' + b"\n" * 2 * MEGABYTE,
            b"x" * 2 * MEGABYTE,
            b"row,corrected_label\n-1,1\n",
            b"row,corrected_label\n+1,1\n",
            "row,corrected_label\n٣,1\n".encode(),
            "row,corrected_label\n１,1\n".encode(),
            "row,corrected_label\n²,1\n".encode(),
            b"row,corrected_label\n0x1,1\n",
            b"row,corrected_label\n1e0,1\n",
            b"row,corrected_label\n../../x,1\n",
            b"row,corrected_label\n1,=1+1\n",
            b"row,row,corrected_label\n1,2,1\n",
            b"row,corrected_label,corrected_label\n1,2,1\n",
            "row,corrected_label\n1,1\n".encode("utf-16"),
            b"\xef\xbb\xbf\xef\xbb\xbfrow,corrected_label\n1,1\n",
            b"\xff\xfe",
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "f.csv"
        path.write_bytes(content)
        with bounded(50):
            refused(lambda: read_flagged(path, 10, 3))

    def test_a_file_of_a_hundred_megabytes(self, tmp_path: Path) -> None:
        with (tmp_path / "f.csv").open("wb") as file:
            file.truncate(100 * MEGABYTE)
        refused(lambda: read_flagged(tmp_path / "f.csv", 10, 3), "at most")

    def test_quotes_and_byte_order_mark_are_csv(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv").write_bytes(b'\xef\xbb\xbf"row","corrected_label","note"\r\n"1","2","a ""b"", c"\r\n')
        assert read_flagged(tmp_path / "f.csv", 10, 3).rows.tolist() == [1]

    def read(self, path: Path) -> None:
        try:
            found = read_flagged(path, 10, 3)
        except InputError as error:
            assert len(str(error)) < 1000
            return
        assert len(found) and 0 <= found.rows.min() <= found.rows.max() < 10
        assert len(set(found.rows.tolist())) == len(found) and set(found.labels.tolist()) <= {-1, 0, 1, 2}

    @FUZZ
    @given(content=st.binary(max_size=100))
    def test_any_bytes(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "f.csv").write_bytes(content)
        self.read(tmp_path / "f.csv")
        (tmp_path / "f.csv").write_bytes(b"row,corrected_label\n" + content)
        self.read(tmp_path / "f.csv")

    @FUZZ
    @given(
        rows=st.lists(
            st.lists(st.one_of(st.integers(-3, 12).map(str), st.text(max_size=5), st.just("")), max_size=4), max_size=6
        ),
        end=st.sampled_from(["\n", "\r\n", "\r", ""]),
    )
    def test_any_cells(self, tmp_path: Path, rows: list, end: str) -> None:
        text = "row,corrected_label\n" + end.join(",".join(row) for row in rows)
        (tmp_path / "f.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
        self.read(tmp_path / "f.csv")
