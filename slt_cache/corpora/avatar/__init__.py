"""The drawn demo corpus: settings in; sentences, signers and videos of drawn signing figures out.

It stands in for data sets that need a licence and is no sign language: its signs are invented.
Writes no manifest."""

from slt_cache.corpora.avatar.draw import draw_clip
from slt_cache.corpora.avatar.plan import AvatarPlan, PlannedClip, plan_avatar
from slt_cache.corpora.avatar.signers import Signer
from slt_cache.corpora.avatar.write import is_of_other_settings, write_avatar

__all__ = ["AvatarPlan", "PlannedClip", "Signer", "draw_clip", "is_of_other_settings", "plan_avatar", "write_avatar"]
