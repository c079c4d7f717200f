"""What stands between this machine and an Ioto cloud, check by check; and who the caller is to it."""

from .checks import CHECKS
from .identity import Identity, identify
from .results import CheckResult, Report, Status
from .running import diagnose
from .target import Setting, Target

__all__ = ["CHECKS", "CheckResult", "Identity", "Report", "Setting", "Status", "Target", "diagnose", "identify"]
