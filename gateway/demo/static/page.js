// Keeps the list fresh without disturbing whoever reads or operates it.
"use strict";
const PAUSE_MS = 2000;
async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const shown = document.getElementById("content");
      const next = fresh.getElementById("content");
      const busy = shown.contains(document.activeElement);
      if (next && !busy && next.innerHTML !== shown.innerHTML) {
        shown.replaceWith(document.importNode(next, true));
      }
    }
  } catch {
    // the EHR is gone; it is asked again
  }
  setTimeout(refresh, PAUSE_MS);
}
setTimeout(refresh, PAUSE_MS);
