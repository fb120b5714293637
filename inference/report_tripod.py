"""The items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) that a report fills by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.markup import table
from inference.report_cohort import missing
from inference.thresholds import written

_RULES = {
    "f1": "the highest F1",
    "sensitivity": "a sensitivity of at least {sensitivity:g}",
    "cost": "the lowest cost, {miss:g} a missed case and {false_alarm:g} a false alarm",
}
_PARTS = {
    "to train": ("train", "training"),
    "to validate": ("val", "validation"),
    "to test": ("test",),
}
"""What the ECGs of a card's `[data]` were used for, and how the parts are called there."""
_CARD = "the card does not tell"
_PEOPLE = (
    "1-4 title, abstract, background and objectives; 6 setting, eligibility and treatment; 8b-c "
    "who assessed the outcome, and how; 9b-c how and by whom ECGs were recorded; 12c why this "
    "model, and how its settings were chosen; 12d heterogeneity between hospitals in development; "
    "17 ethics; 18 funding, interests, protocol, registration and sharing; 19 patients and public; "
    "20b treatments and follow-up; 20c how the predictors differ from the development data; 25-26 "
    "interpretation and limitations; 27b-c use and further research"
)


def tripod_section(results: Mapping[str, Any]) -> str:
    """Give the items that are filled, and those that are left for people to write."""
    model, cohort, data = results["model"], results["cohort"], results["model"]["data"]
    draws, dates = results["bootstrap"]["draws"], _dates(cohort)
    rows = [
        ("5a Data", data.get("attribution", "see the card")),
        *([("5b Dates", dates)] if dates else []),
        ("7 Data preparation", "one look for every source; the four steps of the bundle's card"),
        ("8a Outcome", model["endpoint"].get("meaning", "")),
        ("9a Predictors", "the traces of one 12-lead ECG; no header, label or patient detail"),
        ("10 Sample size", f"{cohort['ecgs']} ECGs, {cohort['positive']} with the outcome"),
        ("11 Missing data", missing(cohort)),
        ("12a Use of the data", _use(results)),
        ("12b Predictors in the model", _predictors(model["network"])),
        ("12c Model and building", _building(model)),
        ("12e Performance measures", f"95 % intervals, {draws} bootstrap draws by patient"),
        ("12f Model updating", _updating(model["calibration"])),
        ("12g Calculation", _calculation(results)),
        ("13 Class imbalance", f"{cohort['prevalence']:.1%} here; restated at a real prevalence"),
        ("14 Fairness", "the subgroup table" if results["subgroups"] else "no subgroup is named"),
        ("15 Model output", _output(model)),
        ("16 Training versus evaluation", results["title"]),
        ("20a Participants", "the cohort table"),
        ("20b Characteristics", _characteristics(results)),
        ("21 Model development", _developed(results)),
        ("22 Model specification", _specification(results)),
        ("23a Model performance", "the results, curves and subgroups"),
        ("23b Heterogeneity", _heterogeneity(results)),
        ("24 Model updating", _updating(model["calibration"])),
        ("27a Usability", "ECGs that may not be judged are refused with a reason"),
    ]
    people = ("" if dates else "5b dates; ") + _PEOPLE
    return (
        "<h2>TRIPOD+AI items that this report fills</h2>"
        + table(("item", ""), rows)
        + f'<p class="note">For people to write: {people}.</p>'
    )


def trained(model: Mapping[str, Any]) -> str:
    """Say how the card tells that the model was trained; nothing where it does not."""
    told = model["training"]
    epochs = told.get("epochs_done", told.get("epochs"))
    if epochs is None or "loss" not in told:
        return ""
    names = {"batch": "batch {}", "peak_lr": "peak learning rate {:g}", "seed": "seed {}"}
    rest = [text.format(told[name]) for name, text in names.items() if name in told]
    return f"Trained for {epochs} epochs with the loss {', '.join([told['loss'], *rest])}."


def meaning(calibration: Mapping[str, Any]) -> str:
    """Say of what the score is a probability."""
    if not calibration:
        return "The score is not a calibrated probability until the model is recalibrated on site."
    ecgs, positive = calibration["ecgs"], calibration["positive"]
    fitted = f"Recalibrated on {ecgs} ECGs, {positive} of them with the outcome."
    return str(calibration.get("note", fitted))


def _output(model: Mapping[str, Any]) -> str:
    """Say what the score is and how its threshold was chosen (TRIPOD+AI, item 15)."""
    rule = model["threshold_rule"]
    chosen = f"{rule['ecgs']} for {_RULES[rule['rule']].format(**rule)}" if rule else ""
    level = model["threshold"]
    threshold = "a threshold for each fold" if level is None else f"threshold {written(level)}"
    return (
        f"a score from 0 to 1; {threshold}, chosen on "
        f"{chosen or 'validation data only'}. {meaning(model['calibration'])}"
    )


def _dates(cohort: Mapping[str, Any]) -> str:
    told = cohort["recorded"]
    if told is None:
        return ""
    unknown = f"; {told['unknown']} of unknown time" if told["unknown"] else ""
    return f"ECGs recorded from {told['first']} to {told['last']}{unknown}"


def _use(results: Mapping[str, Any]) -> str:
    """Say which ECGs trained, chose the threshold and tested."""
    if "folds" in results:
        return (
            "each fold tests the network that the others made: the next fold chose its threshold, "
            "the rest trained it; split by patient"
        )
    data = results["model"]["data"]
    parts = [f"{ecgs} {what}" for what, (ecgs, _) in _counts(data).items()]
    split = f"; split: {data['split']}" if "split" in data else ""
    return f"ECGs: {', '.join(parts)}{split}" if parts else _CARD


def _counts(data: Mapping[str, Any]) -> dict[str, tuple[int, int | None]]:
    """Give ECGs, and those with the outcome, of each part that a card tells of."""
    positive = data.get("positive", {})
    return {
        what: (data[name], positive.get(name))
        for what, names in _PARTS.items()
        for name in names
        if name in data
    }


def _developed(results: Mapping[str, Any]) -> str:
    if "folds" in results:
        return "the same item in the report of each fold"
    data = results["model"]["data"]
    told = [
        f"{what} {ecgs} ECGs" + ("" if positive is None else f", {positive} with the outcome")
        for what, (ecgs, positive) in _counts(data).items()
    ]
    return "; ".join(told) or _CARD


def _predictors(network: Mapping[str, Any]) -> str:
    return (
        "the traces are drawn as one panel, put through the four steps and averaged by area to "
        f"{network['height']}x{network['width']} px from 0 to 1"
    )


def _building(model: Mapping[str, Any]) -> str:
    network = model["network"]
    layers = ", ".join(map(str, network["sa_after"]))
    attention = f"spatial attention after layers {layers}" if layers else "no spatial attention"
    return f"ResNet50, {attention}. {trained(model) or 'Training: ' + _CARD + '.'}"


def _updating(calibration: Mapping[str, Any]) -> str:
    return meaning(calibration) if calibration else "none: weights and scores as trained"


def _calculation(results: Mapping[str, Any]) -> str:
    runtime = f" by {results['runtime']}" if "runtime" in results else ""
    return f"computed{runtime} from the bundle's weights; `ecg-gateway score` does the same"


def _characteristics(results: Mapping[str, Any]) -> str:
    cohort = results["cohort"]
    told = f"{cohort['ecgs']} ECGs of {cohort['patients']} patients, {cohort['positive']} "
    told += "with the outcome"
    if cohort["age"]:
        low, middle, high = cohort["age"]
        told += f"; age {middle:.0f} years (median; quartiles {low:.0f} and {high:.0f})"
    return told + ("; more in the subgroup table" if results["subgroups"] else "")


def _heterogeneity(results: Mapping[str, Any]) -> str:
    sites = [row["value"] for row in results["subgroups"] if row["group"] == "site"]
    if len(sites) < 2:
        return "not examined: the cohort names fewer than two sites"
    return f"{len(sites)} sites in the subgroup table"


def _specification(results: Mapping[str, Any]) -> str:
    if "folds" in results:
        return "the bundles in the table of folds, with their cards"
    return f"bundle {results['model']['bundle']}, with its card"
