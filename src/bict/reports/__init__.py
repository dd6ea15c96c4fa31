"""What a run measured: the result record, the table in the terminal, and one self-contained HTML page."""

from bict.reports.figures import ladder_chart, loss_chart, rows_chart, timing_chart
from bict.reports.page import render_report, write_report
from bict.reports.record import Epoch, Ladder, Privacy, ResultRecord, Row, Rung, load_record, save_record
from bict.reports.strips import Choice, Hit, Strip, choose_strips, load_strips, save_strips, thumbnail
from bict.reports.table import print_result, result_table
from bict.reports.verdict import Verdict, verdict

__all__ = [
    "Choice",
    "Epoch",
    "Hit",
    "Ladder",
    "Privacy",
    "ResultRecord",
    "Row",
    "Rung",
    "Strip",
    "Verdict",
    "choose_strips",
    "ladder_chart",
    "load_record",
    "load_strips",
    "loss_chart",
    "print_result",
    "render_report",
    "result_table",
    "rows_chart",
    "save_record",
    "save_strips",
    "thumbnail",
    "timing_chart",
    "verdict",
    "write_report",
]
