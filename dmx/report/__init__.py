"""The report of a study as one HTML page."""

from dmx.report.page import page, write
from dmx.report.study_data import StudyData, gather

__all__ = ["StudyData", "gather", "page", "write"]
