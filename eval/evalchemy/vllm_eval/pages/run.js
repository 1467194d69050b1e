"use strict";
// Shows a run's items. Every text of a model is put in as text (textContent), never as markup.

const ROW = 34; // pixels; the style sheet's .row has the same height
const SHOWN = 4000; // characters of a text that are shown before "show all"
const DIFF_WORDS = 1500; // more words of a side are not compared word by word
const THOUGHTS = [["<think>", "</think>"], ["<thinking>", "</thinking>"], ["<thought>", "</thought>"],
  ["<reasoning>", "</reasoning>"], ["<seed:think>", "</seed:think>"], ["[THINK]", "[/THINK]"],
  ["◁think▷", "◁/think▷"], ["<|channel>thought", "<channel|>"], ["<|START_THINKING|>", "<|END_THINKING|>"],
  ["<|channel|>analysis<|message|>", "<|channel|>final<|message|>"]];

// Our own words, in the language of the page; the words of a model are never among them.
function t(text, values = {}) {
  return (words[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const FILTERS = {
  lost: ["▼", () => t("became wrong"), (row) => row.otherValue !== null && row.value < row.otherValue],
  gained: ["▲", () => t("became right"), (row) => row.otherValue !== null && row.value > row.otherValue],
  changed: ["≠", () => t("other answer"), (row) => row.otherValue !== null && row.answer !== row.otherAnswer],
  wrong: ["✕", () => t("wrong"), (row) => row.value < 1],
  cut: ["✂", () => t("cut"), (row) => row.finish === "length"],
  empty: ["∅", () => t("empty"), (row) => !row.answer || !row.answer.trim()],
  all: ["", () => t("all"), () => true],
};
const NEEDS_OTHER = new Set(["lost", "gained", "changed"]);

const $ = (id) => document.getElementById(id);
const { tasks: meta, words } = JSON.parse($("meta").textContent);
const blocks = new Map([...document.querySelectorAll("script[data-task]")].map((each) => [each.dataset.task, each]));
const loaded = new Map();
const state = { task: null, show: "all", text: "", found: [], chosen: -1 };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// What would be invisible, or would turn the text around it, is shown as a code.
function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (char) => char < " " ? String.fromCharCode(0x2400 + char.charCodeAt(0))
      : `⟨${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`).replace(/\p{Surrogate}/gu, "�");
}

function bytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const made = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) made[index] = text.charCodeAt(index);
  return made;
}

async function load(task) {
  if (loaded.has(task)) return loaded.get(task);
  const stream = new Blob([bytes(blocks.get(task).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const rows = JSON.parse(await new Response(stream).text())
    .map(([item, value, prompt, target, answer, judged, finish,
      otherValue, otherAnswer, otherJudged, otherFinish, baselineRight]) => ({
      item, value, prompt, target, answer, judged, finish,
      otherValue, otherAnswer, otherJudged, otherFinish, baselineRight, searched: undefined,
    }));
  loaded.set(task, rows);
  return rows;
}

function haystack(row) {
  row.searched ??= [row.item, row.prompt, row.target, row.answer, row.judged, row.otherAnswer].join("\n").toLowerCase();
  return row.searched;
}

async function refresh(wanted) {
  const rows = await load(state.task);
  const accepts = FILTERS[state.show][2];
  const text = state.text.toLowerCase();
  state.found = rows.filter((row) => accepts(row) && (!text || haystack(row).includes(text)));
  $("count").textContent = t("{found} of {all} items", { found: state.found.length, all: rows.length });
  $("tall").style.height = `${state.found.length * ROW}px`;
  const index = wanted === undefined ? 0 : Math.max(0, state.found.findIndex((row) => row.item === wanted));
  choose(state.found.length ? index : -1);
  done();
}

// Tells tests and measurements when the first list stands.
function done() {
  if (document.documentElement.dataset.ready) return;
  document.documentElement.dataset.ready = "1";
  performance.mark("ready");
}

function choose(index) {
  state.chosen = index;
  const list = $("list");
  if (index >= 0) {
    const top = index * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  } else list.scrollTop = 0;
  draw();
  detail(state.found[index]);
  remember();
}

function sign(row) {
  if (row.otherValue !== null && row.value < row.otherValue) return ["lost", "▼", t("became wrong")];
  if (row.otherValue !== null && row.value > row.otherValue) return ["gained", "▲", t("became right")];
  return row.value < 1 ? ["wrong", "✕", t("wrong")] : ["right", "✓", t("right")];
}

// Only the rows in sight are in the document, so that 20,000 cost no more than twenty.
function draw() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(state.found.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const rows = [];
  for (let index = first; index < last; index += 1) {
    const row = state.found[index];
    const [kind, mark, word] = sign(row);
    const line = element("div", {
      class: "row", role: "option", id: `row-${index}`, "aria-selected": String(index === state.chosen),
      "aria-posinset": String(index + 1), "aria-setsize": String(state.found.length),
    }, element("span", { class: `mark ${kind}`, title: word }, mark),
    element("bdi", { class: "text" }, visible(question(row.prompt).slice(-200))),
    element("bdi", { class: "short" }, visible((spoken(row.answer)[1] ?? "(null)").trim().slice(0, 60))));
    line.style.top = `${index * ROW}px`;
    line.addEventListener("click", () => choose(index));
    rows.push(line);
  }
  $("tall").replaceChildren(...rows);
  if (state.chosen >= 0) list.setAttribute("aria-activedescendant", `row-${state.chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

// The last question of a prompt with examples: the text after the last empty line, in one line.
function question(prompt) {
  return (prompt.trim().split(/\n\s*\n/).pop() ?? "").replace(/\s+/g, " ");
}

// An answer's thoughts and what is left without them.
function spoken(answer) {
  if (answer === null) return ["", null];
  for (const [open, close] of THOUGHTS) {
    const end = answer.lastIndexOf(close);
    const start = answer.trimStart().startsWith(open) ? answer.indexOf(open) + open.length : 0;
    if (end >= start && end >= 0) return [answer.slice(start, end), answer.slice(end + close.length)];
    if (start > 0) return [answer.slice(start), ""];
  }
  return ["", answer];
}

function field(title, ...content) {
  return element("section", { class: "field" }, element("h4", {}, title), ...content);
}

function block(text, parts) {
  const made = element("pre", { dir: "auto" });
  const whole = text ?? "(null)";
  const fill = (limit) => {
    if (parts && whole.length <= SHOWN) made.append(...parts);
    else made.append(visible(whole.slice(0, limit)));
  };
  fill(SHOWN);
  if (whole.length <= SHOWN) return [made];
  const more = element("button", { type: "button" }, t("show all {count} characters", { count: whole.length.toLocaleString("en") }));
  more.addEventListener("click", () => { made.replaceChildren(); fill(whole.length); more.remove(); });
  return [made, more];
}

// Words that only one side has, by the longest common subsequence; null where the texts are too long for it.
function differences(left, right) {
  const a = left.match(/\s+|[^\s]+/gu) ?? [];
  const b = right.match(/\s+|[^\s]+/gu) ?? [];
  if (a.length > DIFF_WORDS || b.length > DIFF_WORDS) return null;
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      table[i * width + j] = a[i] === b[j] ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const sides = [[], []];
  let i = 0; let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      sides[0].push(visible(a[i])); sides[1].push(visible(b[j])); i += 1; j += 1;
    } else if (j >= b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      sides[0].push(element("del", {}, visible(a[i]))); i += 1;
    } else {
      sides[1].push(element("ins", {}, visible(b[j]))); j += 1;
    }
  }
  return sides;
}

function answerSide(title, value, answer, judged, finish, parts) {
  const [thoughts, text] = spoken(answer);
  const right = value >= 1;
  const notes = [finish === "length" ? `✂ ${t("cut at the token limit")}` : finish ? `finish: ${finish}` : null,
    text !== null && !text.trim() ? `∅ ${t("empty")}` : null, value > 0 && value < 1 ? `${t("value")} ${value}` : null];
  const side = element("section", { class: `side ${right ? "right" : "wrong"}` },
    element("h4", {}, element("span", { class: "mark" }, right ? "✓" : "✕"), ` ${title}`),
    element("p", { class: "notes" }, notes.filter(Boolean).join(" · ")));
  if (thoughts) {
    side.append(element("details", {}, element("summary", {}, t("thoughts ({count} characters)", { count: thoughts.length })),
      ...block(thoughts)));
  }
  side.append(...block(text, parts), element("p", { class: "judged" }, `${t("judged as")} `,
    element("code", { dir: "auto" }, visible(judged.slice(0, SHOWN)))));
  return side;
}

function detail(row) {
  const place = $("item");
  place.scrollTop = 0;
  if (!row) {
    place.replaceChildren(element("p", { class: "note" }, t("No item is left by this filter and search.")));
    return;
  }
  const facts = meta.find((each) => each.name === state.task);
  const [kind, mark, word] = sign(row);
  const head = element("h3", {}, element("span", { class: `mark ${kind}` }, mark), ` ${word} `,
    element("code", {}, visible(row.item.slice(0, 200))));
  const body = [head];
  if (row.baselineRight !== null && facts.baselineRuns > 1) {
    body.push(element("p", { class: "notes" },
      t("right in {right} of the {runs} runs of the baseline", { right: row.baselineRight, runs: facts.baselineRuns })));
  }
  body.push(field(t("target"), ...block(row.target)));
  const sides = element("div", { class: "sides" });
  if (row.otherValue !== null) {
    const before = spoken(row.otherAnswer)[1] ?? "";
    const parts = differences(before, spoken(row.answer)[1] ?? "") ?? [undefined, undefined];
    sides.append(
      answerSide(t("before ({run})", { run: facts.other }), row.otherValue, row.otherAnswer, row.otherJudged, row.otherFinish, parts[0]),
      answerSide(t("this run"), row.value, row.answer, row.judged, row.finish, parts[1]));
  } else {
    sides.append(answerSide(t("this run"), row.value, row.answer, row.judged, row.finish));
    if (facts.other) sides.append(element("p", { class: "note" }, t("The other run does not have this item.")));
  }
  body.push(sides, field(t("prompt"), ...block(row.prompt)));
  place.replaceChildren(...body);
}

// The address tells task, filter and item, so that a link leads a colleague to the same answer.
function remember() {
  const parts = new URLSearchParams({ task: state.task, show: state.show });
  if (state.text) parts.set("find", state.text);
  if (state.found[state.chosen]) parts.set("item", state.found[state.chosen].item.slice(0, 300));
  const wanted = `#${parts}`;
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}

function offer(task) {
  const facts = meta.find((each) => each.name === task);
  const legend = $("show").querySelector("legend");
  const choices = Object.entries(FILTERS).filter(([name]) => facts.other || !NEEDS_OTHER.has(name))
    .map(([name, [mark, title]]) => {
      const input = element("input", { type: "radio", name: "show", value: name });
      input.checked = name === state.show;
      input.addEventListener("change", () => { state.show = name; refresh(); });
      const counts = { all: facts.counts[0], wrong: facts.counts[1], lost: facts.counts[2], gained: facts.counts[3] };
      return element("label", {}, input, ` ${mark} ${title()}`, name in counts ? ` (${counts[name]})` : "");
    });
  $("show").replaceChildren(legend, ...choices);
}

function go() {
  const asked = new URLSearchParams(location.hash.slice(1));
  // Opened without a wish, the page shows first what an alert makes people look for.
  const first = meta.find((each) => blocks.has(each.name) && each.other && each.counts[2] > 0)
    ?? meta.find((each) => blocks.has(each.name));
  const task = blocks.has(asked.get("task")) ? asked.get("task") : first.name;
  const facts = meta.find((each) => each.name === task);
  const usual = facts.other && facts.counts[2] > 0 ? "lost" : facts.counts[1] > 0 ? "wrong" : "all";
  const show = Object.hasOwn(FILTERS, asked.get("show")) ? asked.get("show") : usual;
  state.task = task;
  state.show = NEEDS_OTHER.has(show) && !facts.other ? usual : show;
  state.text = asked.get("find") ?? "";
  $("task").value = task;
  $("find").value = state.text;
  offer(task);
  refresh(asked.get("item") ?? undefined);
}

function start() {
  if (!blocks.size) {
    $("answers").replaceChildren($("items"), element("p", { class: "note" }, t("No single answers are stored for this run.")));
    done();
    return;
  }
  $("task").append(...[...blocks.keys()].map((name) => element("option", { value: name }, name)));
  $("task").addEventListener("change", () => { location.hash = `#${new URLSearchParams({ task: $("task").value })}`; });
  $("find").addEventListener("input", () => { state.text = $("find").value; refresh(); });
  $("find").form.addEventListener("submit", (event) => event.preventDefault());
  $("list").addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  addEventListener("resize", draw);
  addEventListener("hashchange", () => { go(); if (!location.hash.includes("item=")) $("items").scrollIntoView(); });
  const page = () => Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
  $("list").addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page(), PageUp: -page(), Home: -1e9, End: 1e9 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey || !state.found.length) return;
    event.preventDefault();
    choose(Math.min(state.found.length - 1, Math.max(0, state.chosen + steps[event.key])));
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, select")) return;
    event.preventDefault();
    $("find").focus();
  });
  go();
}

start();
