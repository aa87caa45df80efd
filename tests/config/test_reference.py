"""What `config show` and the documents list: every setting, described."""

from slt_cache.config import Config
from slt_cache.config.reference import describe


def test_every_setting_has_a_description() -> None:
    settings = describe()
    assert [one.name for one in settings if not one.description] == []
    assert len(settings) > 100
    assert {one.name.partition(".")[0] for one in settings} == set(Config.model_fields)
