"""Lists of flagged rows, and how damaged ones are met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged
from unlearning.task import REMOVED


class TestFlaggedRows:
    @staticmethod
    def read(tmp_path: Path, text: str):
        path = tmp_path / "flagged.csv"
        path.write_text(text)
        return read_flagged(path, rows=10, num_classes=3)

    def test_labels_removal_and_other_columns(self, tmp_path: Path) -> None:
        corrections = self.read(tmp_path, "score,row,corrected_label\n.5,7,2\n.1,0,\n")
        assert corrections.rows.tolist() == [7, 0] and corrections.labels.tolist() == [2, REMOVED]

    def test_byte_order_mark_and_windows_lines(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "\ufeffrow,corrected_label\r\n3,1\r\n").rows.tolist() == [3]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "names of columns"),
            ("row,label\n1,2\n", "corrected_label"),
            ("row,corrected_label\n", "flags no row"),
            ("row,corrected_label\n10,1\n", "line 2: row"),
            ("row,corrected_label\n1,1\n-1,1\n", "line 3: row"),
            ("row,corrected_label\n1.0,1\n", "line 2: row"),
            ("row,corrected_label\n1_0,1\n", "line 2: row"),
            ("row,corrected_label\n٣,1\n", "line 2: row"),
            ("row,corrected_label\n99999999999999999999,1\n", "line 2: row"),
            ("row,corrected_label\n1,3\n", "line 2: corrected_label"),
            ("row,corrected_label\n1,cat\n", "line 2: corrected_label"),
            ("row,corrected_label\n1,1\n1,2\n", "line 3: row 1 is flagged twice"),
            ("row,corrected_label\n1\n", "line 2"),
            ("row,corrected_label\n1,2,3\n", "line 2"),
            ('row,corrected_label\n"1,2\n', "CSV"),
            ("row,corrected_label\n1\0,2\n", "line 2|CSV"),
        ],
    )
    def test_malformed_lines_are_named(self, tmp_path: Path, text: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            self.read(tmp_path, text)

    def test_given_labels_say_whether_the_rows_are_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "suspects.csv"
        path.write_text("row,given_label,corrected_label\n3,2,1\n4,,1\n")
        given = np.arange(10) % 3
        with pytest.raises(InputError, match="line 2: training row 3 has the label 0, not the given_label '2'"):
            read_flagged(path, 10, 3, given)
        given[3] = 2
        assert read_flagged(path, 10, 3, given).rows.tolist() == [3, 4]

    @pytest.mark.parametrize(
        "text",
        [
            "row,given_label,score,corrected_label\n3,2.0,.5,1.0\n4,1,.4,\n",
            "row,given_label,corrected_label\n3,2,1.00\n\n4,1,\n\n\n",
            "row,given_label,corrected_label\n3,2,1\n4,1,\n,,\n,,\n",
            "\ufeffrow;given_label;score;corrected_label\r\n3;2;0,5;1\r\n4;1;0,4;\r\n;;;\r\n",
            "row\tgiven_label\tcorrected_label\n3\t2\t1\n4\t1\t\n",
            ",row,given_label,corrected_label\n0,3,2,1.0\n1,4,1,\n",
        ],
        ids=["floats", "blank lines", "emptied lines", "semicolons", "tabs", "numbered lines"],
    )
    def test_what_pandas_and_spreadsheets_write(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "flagged.csv"
        path.write_text(text, newline="")
        given = np.arange(10) % 3
        given[3] = 2
        found = read_flagged(path, 10, 3, given)
        assert found.rows.tolist() == [3, 4] and found.labels.tolist() == [1, REMOVED]

    @pytest.mark.parametrize("label", ["1.5", "1e0", "nan", "1.", ".0", "-1.0", "1.0.0", "1,0"])
    def test_no_whole_number(self, tmp_path: Path, label: str) -> None:
        with pytest.raises(InputError, match="line 2"):
            self.read(tmp_path, f"row;corrected_label\n1;{label}\n")

    def test_another_encoding(self, tmp_path: Path) -> None:
        path = tmp_path / "flagged.csv"
        path.write_text("row,corrected_label\n1,2\n", encoding="utf-16")
        with pytest.raises(InputError, match="not in UTF-8"):
            read_flagged(path, 10, 3)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="existing CSV"):
            read_flagged(tmp_path / "nowhere.csv", 10, 3)
