"""What a study came to, as one page for people."""

from dmx.report.page import page, write
from dmx.report.study_data import StudyData, gather

__all__ = ["StudyData", "gather", "page", "write"]
