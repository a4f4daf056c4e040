// Keeps a page up to date: the server sends finished HTML fragments, each with the id of its place.
"use strict";

const followed = document.querySelector("[data-stream]");
const link = document.getElementById("link");

function show(state, text) {
  link.dataset.state = state;
  link.textContent = text;
}

// A fragment is parsed in a template: nothing in it runs, and a table row stays a table row.
function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function put(list, node, first) {
  const old = list.querySelector(`[data-key="${CSS.escape(node.dataset.key)}"]`);
  if (old) old.replaceWith(node);
  else if (first) list.prepend(node);
  else list.append(node);
}

// A long conversation's list of tasks scrolls: the one that is shown has to be in sight.
const thread = document.querySelector(".thread");
if (thread) thread.scrollTop = thread.querySelector("[aria-current]").offsetTop - thread.clientHeight / 2;

function nearEnd(element) {
  return element.scrollHeight - element.scrollTop - element.clientHeight < 80;
}

// The head of a page is replaced as news comes in, so what was asked for is kept here.
const stop = { asked: false, answer: "" };

function showStop() {
  const button = document.querySelector("[data-stop]");
  if (!button) return;
  button.disabled = stop.asked;
  button.textContent = stop.asked ? "Stopping" : "Stop";
  document.querySelector(".stop-answer").textContent = stop.answer;
}

async function askToStop(task) {
  stop.asked = true;
  stop.answer = "";
  showStop();
  try {
    const answer = await fetch(`/api/v1/tasks/${encodeURIComponent(task)}/stop`, {
      method: "POST",
      headers: { "Airut-Request": "stop" },
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
  } catch (error) {
    stop.asked = false;
    stop.answer = error.message;
    showStop();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-stop]");
  if (button) askToStop(button.dataset.stop);
});

const page = document.scrollingElement;
const handlers = {
  row(html) {
    document.getElementById("empty").hidden = true;
    put(document.getElementById("tasks"), parse(html), true);
  },
  header(html) {
    document.getElementById("header").replaceChildren(parse(html));
    showStop();
  },
  progress(html) {
    document.getElementById("progress").replaceChildren(parse(html));
  },
  output(html) {
    const follow = nearEnd(page);
    put(document.getElementById("output"), parse(html), false);
    if (follow) page.scrollTo({ top: page.scrollHeight });
  },
  network(html) {
    const box = document.querySelector(".network .scroll");
    const follow = nearEnd(box);
    put(document.getElementById("network"), parse(html), false);
    if (follow) box.scrollTop = box.scrollHeight;
  },
};

if (followed) {
  const source = new EventSource(followed.dataset.stream);
  source.onopen = () => show("live", "live");
  source.onerror = () => show("waiting", "connection lost, trying again");
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handle(event.data));
  }
} else {
  link.hidden = true;
}
