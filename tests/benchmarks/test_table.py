"""How results are shown: as JSON, tables, a picture and a page."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest

from tests.benchmarks import page, picture, results, table
from tests.benchmarks.__main__ import main
from tests.benchmarks.goals import GOALS, Goal, outcome, outcomes
from tests.benchmarks.jobs import JOBS
from tests.benchmarks.results import JobResult, Results, Sample


def sample(name, *wall, kind="tool", **fields):
    return Sample(name, f"the {name}", kind, list(wall), list(wall), **fields)


def some(**fields):
    ours = sample("ours", 0.5, 0.5, 0.5, kind="ours", **fields)
    job = JobResult("one", "a <job>", [ours, sample("plain", 0.4, 0.5, 0.6), sample("xdist", 2.0)])
    return Results({"cores": "2"}, {"tox": "4"}, 3, [job])


GOAL = Goal("one", "the best", 0.6, "ours", ("plain", "xdist", "absent"), then=0.5)


@pytest.mark.parametrize(
    ("ours", "words"),
    [(0.2, "met"), (0.28, "the first met"), (0.4, "not met")],
)
def test_a_goal_is_a_ratio_to_the_best_of_others(ours, words):
    job = JobResult("one", "", [sample("ours", ours), sample("plain", 0.5), sample("xdist", 0.8)])
    found = outcome(GOAL, job)
    assert found.ratio is not None
    assert found.ratio.value == ours / 0.5
    assert (found.against, found.words) == ("the plain", words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"absent": "not there yet"}, "not there yet"),
        ({"error": "broken"}, "error"),
        ({"wall": []}, "not measured"),
    ],
)
def test_a_goal_of_what_was_given_up_is_not_met_by_numbers_from_before(fields, words):
    (job,) = some().jobs
    vars(job.samples[0]).update(fields)
    assert outcome(GOAL, job).words == words


def test_a_goal_without_the_others_says_so():
    job = JobResult("one", "", [sample("ours", 1.0), sample("plain", 1.0, error="broken")])
    assert outcome(GOAL, job).words == "nothing to compare with"
    assert outcome(GOAL, JobResult("one", "", [])).words == "not measured"


def test_every_job_has_a_goal_and_every_goal_a_job():
    assert {goal.job for goal in GOALS} == {job.name for job in JOBS}
    assert [found.goal.job for found in outcomes(some())] == ["one"] * 4


def test_json_gives_back_what_was_written(tmp_path):
    results.write(some(error="it <broke>"), tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == some(error="it <broke>")


def test_the_table_of_goals_shows_ratio_quartiles_and_result():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines(table.goals(some()))]
    assert ["a <job>", "plain pytest", "<= 1.05", "1.000", "0.917-1.125", "met", "1.000"] in rows


def test_the_table_of_samples_shows_everybody_or_why_not():
    text = table.samples(some(error="broken"))
    assert [line.count("error") for line in lines(text)[2:]] == [1, 0, 0]
    assert "0.500 | 0.450-0.550" in lines(text)[3]


def lines(text):
    return text.splitlines()


def test_columns_are_aligned():
    text = table.markdown(("a", "long name"), [("x" * 9, "1"), ("y", "22")], numbers=[1])
    assert lines(text) == [
        "| a         | long name |",
        "| --------- | --------: |",
        "| xxxxxxxxx |         1 |",
        "| y         |        22 |",
    ]


def test_the_picture_has_a_bar_for_each_who_has_numbers():
    found = some()
    found.jobs[0].samples.append(sample("late", 9.0, error="broken"))
    root = ElementTree.fromstring(picture.svg(found))
    paper, *bars = root.findall("{*}rect")
    widths = [float(bar.get("width", 0)) for bar in bars]
    assert len(widths) == 3
    assert widths[2] == max(widths) == 4 * widths[0]
    assert all(float(bar.get("y", 0)) + 16 <= float(paper.get("height", 0)) for bar in bars)
    texts = [text.text for text in root.findall("{*}text")]
    assert "the plain" in texts
    assert "the late" not in texts


def test_the_page_is_written_between_its_marks_and_the_rest_stays(tmp_path):
    path = tmp_path / "speed.md"
    path.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n")
    page.write(some(), path)
    text = path.read_text()
    assert text == f"before\n{page.BEGIN}{page.measured(some())}{page.END}after\n"
    assert results.read(tmp_path / "speed.json") == some()
    assert (tmp_path / "speed.svg").read_text() == picture.svg(some())
    page.write(dataclasses.replace(some(), rounds=9), path)
    assert "9 rounds" in path.read_text()


def test_the_tables_and_the_picture_of_the_documentation_are_what_was_measured():
    path = page.PAGE.with_suffix(".json")
    if not path.is_file():
        pytest.skip("nothing has been measured yet")
    measured = results.read(path)
    assert page.shown() == page.measured(measured)
    assert page.PAGE.with_suffix(".svg").read_text() == picture.svg(measured)
    assert measured.errors == []


@pytest.mark.parametrize("less", [["--rounds=3"], ["--only-ours"]])
def test_the_documentation_shows_whole_measurements_only(less, capsys):
    with pytest.raises(SystemExit):
        main(["--docs", *less])
    assert "--docs is for all tools, in at least 7 rounds" in capsys.readouterr().err


def test_a_job_that_is_measured_again_takes_its_own_place_and_no_others():
    def found(rounds, *jobs):
        return Results({"cores": "2"}, {"pytest": str(rounds)}, rounds, list(jobs))

    old = found(7, JobResult("one", "before"), JobResult("two", "before"))
    new = found(9, JobResult("two", "again"))
    both = results.renewed(old, new, ["one", "two"])
    assert [(job.name, job.title) for job in both.jobs] == [("one", "before"), ("two", "again")]
    assert (both.rounds, both.versions) == (7, {"pytest": "9"})
    assert results.renewed(None, new, ["one", "two"]) is new
