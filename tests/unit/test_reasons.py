"""Every reason has words."""

from __future__ import annotations

import pytest

from sessions_app.reasons import EXPLANATIONS, Reason, explain, retries


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.NONE])
def test_every_reason_has_a_sentence_and_a_next_step_unless_nothing_is_needed(reason):
    explanation = EXPLANATIONS[reason]
    assert explanation.sentence.endswith(".")
    assert explanation.action.endswith(".") or explanation.retries or reason in (Reason.ASKED, Reason.SCANNED)


def test_an_unknown_code_of_an_old_row_explains_itself():
    assert explain("from-an-older-release").sentence == "from-an-older-release"


def test_what_a_person_must_mend_is_not_tried_again():
    assert not retries(Reason.VAULT_UNREADABLE)
    assert not retries(Reason.STREAM_REPLACED)
    assert retries(Reason.WHATSAPP_UNREACHABLE)
