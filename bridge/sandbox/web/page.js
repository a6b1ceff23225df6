// Shows what the sandbox sends as events. Everything from outside becomes text, never markup.
"use strict";

const CALLS_MAX = 100;
const calls = document.getElementById("calls");

function make(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function show(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

function badge(text, isGood) {
  return make("span", `badge ${isGood ? "good" : "bad"}`, text);
}

// A signature with the first character that differs marked; a missing one is said in words.
function signature(text, differsAt) {
  if (!text) return make("span", "failed", "none");
  if (differsAt === null) return make("code", "", text);
  const mark = make("mark", "", text[differsAt] ?? "(ends here)");
  return make("code", "", text.slice(0, differsAt), mark, make("span", "after", text.slice(differsAt + 1)));
}

function comparison(found, call) {
  const parts = [make("div", "compare",
    make("span", "quiet", "expected"), signature(found.expected, found.differs_at),
    make("span", "quiet", "received"), signature(found.received, found.differs_at))];
  if (found.differs_at === null) {
    parts.push(make("div", "quiet", `What was signed: these ${call.body_bytes} bytes`), make("pre", "", call.body));
    return parts;
  }
  parts.push(make("p", "mistake", found.mistake ? `Likely mistake: ${found.mistake}.`
    : "No usual mistake leads to this signature. Sign exactly the bytes below, with the private key's text."));
  parts.push(make("div", "quiet", `First difference at character ${found.differs_at + 1}. ` +
    `What must be signed: the ${call.body_bytes} bytes that were sent`), make("pre", "", call.body));
  if (found.signed !== null) parts.push(make("div", "quiet", "What was signed instead"), make("pre", "", found.signed || "(nothing)"));
  return parts;
}

const MARKS = new Map([[true, ["\u2713", "ok"]], [false, ["\u2717", "failed"]], [null, ["\u2013", "skipped"]]]);

function step(each, call) {
  const [mark, state] = MARKS.get(each.passed);
  const line = make("li", "", make("span", state, `${mark} `), make("span", `name ${state}`, each.check),
    make("span", each.passed === false ? "failed" : "", each.text));
  if (each.signature) line.append(...comparison(each.signature, call));
  return line;
}

function details(call) {
  const signed = call.steps.some((each) => each.signature);
  const body = signed ? [] : [make("div", "quiet", `Body, ${call.body_bytes} bytes`), make("pre", "", call.body)];
  const headers = call.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  return make("div", "", make("ul", "steps", ...call.steps.map((each) => step(each, call))), ...body,
    make("div", "quiet", "Headers"), make("pre", "", headers),
    make("div", "quiet", call.status === null ? "Answer: none" : `Answer: HTTP ${call.status}`),
    ...(call.answer ? [make("pre", "", call.answer)] : []));
}

function add(call) {
  document.getElementById("none")?.remove();
  const isRefused = call.refusal !== "";
  const said = isRefused ? call.refusal : call.test_token ? `test token ${call.test_token}` : "success";
  const summary = make("summary", "", make("span", "quiet", `#${call.number} `), make("code", "", `${call.method} ${call.path} `),
    badge(call.status === null ? "no answer" : String(call.status), !isRefused), ` ${said}`);
  const card = make("details", isRefused ? "call refused" : "call", summary, details(call));
  card.open = isRefused;
  calls.prepend(card);
  while (calls.children.length > CALLS_MAX) calls.lastElementChild.remove();
}

function about(sandbox) {
  calls.replaceChildren(...[...calls.children].filter((each) => each.id === "none"));
  show("url", sandbox.url);
  const samples = sandbox.samples.map((each) => make("dl", "",
    make("dt", "", `provider_id ${each.provider_id}`),
    make("dd", "quiet", "access key ", make("code", "", each.access_key)),
    make("dd", "quiet", "private key ", make("code", "", each.private_key))));
  show("keys", ...(samples.length ? samples : [`None: the providers are ${sandbox.providers.join(", ")}, with keys of their own.`]));
  show("operations", ...sandbox.operations.map((path) => make("li", "", make("code", "", `POST ${path}`))));
  const heading = make("tr", "", ...sandbox.headings.map((text) => make("th", "", text)));
  const rows = sandbox.tokens.map(([token, ...rest]) => make("tr", "", make("td", "", make("code", "", token)),
    ...rest.map((text) => make("td", "", text))));
  show("tokens", make("thead", "", heading), make("tbody", "", ...rows));
}

function live(text, isGood) {
  document.getElementById("live").replaceWith(Object.assign(badge(text, isGood), { id: "live" }));
}

const events = new EventSource("events");
events.addEventListener("open", () => live("live", true));
events.addEventListener("error", () => live("not connected", false));
events.addEventListener("sandbox", (event) => about(JSON.parse(event.data)));
events.addEventListener("call", (event) => add(JSON.parse(event.data)));
