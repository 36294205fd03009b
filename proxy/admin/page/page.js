// Keeps the page up to date: fetches it again, and takes over the parts that
// have changed. What is shown is made in one place, by the gateway's template,
// and without this script the page is the same, only still.
"use strict";

const interval = 2000;
const contact = document.getElementById("contact");

// takeOver puts the new content of a part in the place of the old one, unless
// somebody is just selecting something in it. What was opened stays open, and
// the focus where it was.
function takeOver(part, fresh) {
  for (const details of fresh.querySelectorAll("details[id]")) {
    details.open = document.getElementById(details.id)?.open ?? details.open;
  }
  if (part.innerHTML === fresh.innerHTML) return;
  const selection = getSelection();
  if (!selection.isCollapsed && selection.containsNode(part, true)) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.replaceChildren(...fresh.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function refresh() {
  const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-live]")) {
    const counterpart = fresh.getElementById(part.id);
    if (counterpart) takeOver(part, counterpart);
  }
}

async function keepUp() {
  if (!document.hidden) {
    try {
      await refresh();
      contact.hidden = true;
    } catch {
      if (contact.hidden) {
        contact.textContent = `No answer from the gateway since ${new Date().toLocaleTimeString()}: what you see is from before.`;
        contact.hidden = false;
      }
    }
  }
  setTimeout(keepUp, interval);
}

setTimeout(keepUp, interval);
