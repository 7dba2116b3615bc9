"""Terms added to any training loss, and how their weights change during training."""

from cryo_disentangle.losses.schedules import LinearSchedule, Schedule

__all__ = ["LinearSchedule", "Schedule"]
