import os
import signal
import time
from typing import cast

import pytest
from accelerate import Accelerator
from knotwork_search import Interruption, RunFolder, RunInterrupted, Search, load_checkpoint

from .test_loop import data, everything, few_steps
from .toy import Toy, same


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_within_steps_and_raised_elsewhere(accelerator: Accelerator, number, code):
    saved = []
    before = signal.getsignal(number)
    with Interruption() as stop:
        with stop.held():
            stop.stop_if_asked(accelerator, lambda: saved.append("too early"))
            os.kill(os.getpid(), number)
            with pytest.raises(RunInterrupted, match="--resume goes on from the newest checkpoint") as raised:
                stop.stop_if_asked(accelerator, lambda: saved.append("saved"))
        assert saved == ["saved"]
        assert cast(RunInterrupted, raised.value).exit_code == code
    assert signal.getsignal(number) is before
    with Interruption(), pytest.raises(RunInterrupted):
        os.kill(os.getpid(), number)


def test_a_second_interrupt_is_left_to_the_system(accelerator: Accelerator):
    with Interruption() as stop, stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_time_that_is_over_leaves_room_for_another_step(accelerator: Accelerator):
    with Interruption(3.0) as stop, stop.held():
        stop.stop_if_asked(accelerator, lambda: None)
        time.sleep(1.1)
        with pytest.raises(RunInterrupted, match=r"its time \(--max-time\) is over") as raised:
            stop.stop_if_asked(accelerator, lambda: None)
    assert cast(RunInterrupted, raised.value).exit_code == 0
    with Interruption(0.05), pytest.raises(RunInterrupted, match="its time"):
        time.sleep(5)


def test_an_interrupted_search_goes_on_as_one_that_never_was(accelerator: Accelerator, tmp_path, monkeypatch):
    whole = Search(Toy(), data(), few_steps("drnas"), accelerator=accelerator)
    whole.train()
    run = RunFolder(tmp_path)
    with Interruption() as stop:
        first = Search(Toy(), data(), few_steps("drnas"), accelerator=accelerator, run=run, stop=stop)
        take = first._weight_step

        def interrupted(step, batches):
            if step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return take(step, batches)

        monkeypatch.setattr(first, "_weight_step", interrupted)
        with pytest.raises(RunInterrupted):
            first.train()
    assert load_checkpoint(run.checkpoints)[1]["step"] == 7
    second = Search(Toy(seed=5), data(), few_steps("drnas"), accelerator=accelerator, run=run)
    second.load()
    second.train()
    assert same(everything(second), everything(whole))
