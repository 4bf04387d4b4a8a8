// trace_page.js - the script of the page that `achar trace --html` writes.
//
// The page has the pickle's opcodes as data: what each took from the stack, the value it pushed, what
// it put into the memo, what it added to which container. From these the Trace makes the state after
// any opcode at once: stacks share their lower parts, containers and the memo remember at which
// opcode they got what.
//
// All text comes from the pickle and is put on the page as text, never as markup.
"use strict";

// Values of which only the first few are kept, each with the opcode at which it came.
class Growing {
  constructor() {
    this.ids = [];
    this.steps = []; // of the ids
    this.ends = []; // [step, count from then on]
  }
  add(step, count, ids) {
    for (const id of ids) {
      this.ids.push(id);
      this.steps.push(step);
    }
    const before = this.ends.length ? this.ends[this.ends.length - 1][1] : 0;
    this.ends.push([step, before + count]);
  }
  // The last entry at or before a step.
  static at(entries, step) {
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle][0] <= step) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : entries[low - 1][1];
  }
  count(step) {
    return Growing.at(this.ends, step) ?? 0;
  }
  kept(step) {
    let count = this.ids.length;
    while (count > 0 && this.steps[count - 1] > step) count--;
    return count;
  }
}

class Trace {
  constructor(data) {
    this.data = data;
    this.limits = data.limits;
    this.steps = data.steps;
    this.values = new Map(); // id to value
    this.stacks = []; // after each step: {id, below, height, step} or null
    this.puts = []; // [step, index, id], of all pickles
    this.putsBefore = []; // at each step, how many of these there were
    this.firstPut = []; // at each step, the first of these that is of its pickle
    this.offsets = [];
    this.hidden = []; // how much of the stack lies below what the page knows
    this.memo = new Map();
    this.load();
  }

  load() {
    let stack = null;
    for (const value of this.data.values ?? []) this.define(value, -1);
    for (const id of this.data.stack ?? []) stack = this.push(stack, id, -1);
    let offset = this.data.offset;
    let firstPut = 0;
    let hidden = this.data.below ?? 0;
    this.steps.forEach((step, i) => {
      if (step.P) {
        stack = null;
        hidden = 0;
        firstPut = this.puts.length;
        this.memo = new Map();
      }
      for (const value of step.v ?? []) this.define(value, i);
      for (let n = step.t ?? 0; n > 0; n--) {
        if (stack === null) hidden = Math.max(0, hidden - 1);
        else stack = stack.below;
      }
      if (step.p !== undefined) stack = this.push(stack, step.p, i);
      if (step.c) this.change(i, ...step.c);
      if (step.m !== undefined && stack !== null) this.put(i, step.m, stack.id);
      this.hidden.push(hidden);
      this.stacks.push(stack);
      this.putsBefore.push(this.puts.length);
      this.firstPut.push(firstPut);
      this.offsets.push(offset);
      offset += step.n;
    });
  }

  push(below, id, step) {
    return { id, below, step, height: (below?.height ?? 0) + 1 };
  }

  define(v, step) {
    const value = { ...v, step: v.b === undefined ? step : -1, items: new Growing(), changes: [], names: [] };
    if (v.n !== undefined) value.items.add(-1, v.n, v.v ?? []);
    if (v.m !== undefined) value.names.push([-1, v.m]);
    this.values.set(v.i, value);
    for (const [kind, count, ids] of v.h ?? []) this.addChange(value, -1, kind, count, ids);
  }

  addChange(value, step, kind, count, ids) {
    let last = value.changes[value.changes.length - 1];
    if (!last || last.kind !== kind || kind === "state") {
      last = { kind, step, items: new Growing() };
      value.changes.push(last);
    }
    last.items.add(step, count, ids);
  }

  change(step, id, kind, count, ids) {
    const value = this.values.get(id);
    if (value.k === kind) value.items.add(step, count, ids);
    else this.addChange(value, step, kind, count, ids);
  }

  put(step, index, id) {
    const name = (i) => Growing.at(this.values.get(i).names, step);
    const before = this.memo.get(index);
    if (before !== undefined && name(before) === index) this.values.get(before).names.push([step, null]);
    if (name(id) === null) this.values.get(id).names.push([step, index]);
    this.memo.set(index, id);
    this.puts.push([step, index, id]);
  }

  // ---- values as text: the rules of trace_show.h. Gives pieces [text, kind of text, value's id].

  pieces(id, step) {
    const out = [];
    const path = [];
    let width = 0;
    const { items: itemsMax, depth: depthMax, width: widthMax } = this.limits;
    const say = (text, kind, of) => {
      width += [...text].length;
      out.push([text, kind, of]);
    };
    const deep = () => path.length > depthMax;

    const items = (grown, pairs, of) => {
      const size = pairs ? 2 : 1;
      const count = grown.count(step) / size;
      const kept = deep() ? 0 : Math.min(grown.kept(step) / size, itemsMax);
      let i = 0;
      for (; i < kept && (i === 0 || width < widthMax); i++) {
        if (i !== 0) say(", ", "", of);
        show(grown.ids[i * size]);
        if (pairs) {
          say(": ", "", of);
          show(grown.ids[i * size + 1]);
        }
      }
      if (i < count) say((i === 0 ? "" : ", ") + "…+" + (count - i), "faint", of);
    };
    const between = (before, value, after) => {
      say(before, "", value.i);
      items(value.items, value.k === "dict", value.i);
      say(after, "", value.i);
    };
    const call = (value) => {
      const [callable, args, keywords] = value.v.map((part) => this.values.get(part));
      if (callable.k === "import") {
        show(callable.i);
      } else {
        say("(", "", value.i);
        show(callable.i);
        say(")", "", value.i);
      }
      say("(", "", value.i);
      if (args.k === "tuple") items(args.items, false, args.i);
      else if (args.s !== "()") {
        say("*", "", value.i);
        show(args.i);
      }
      if (keywords) {
        say(args.s === "()" ? "**" : ", **", "", value.i);
        show(keywords.i);
      }
      say(")", "", value.i);
    };
    const changes = (value) => {
      const made = value.changes.filter((change) => change.step <= step);
      const shown = deep() ? [] : made.slice(0, itemsMax);
      for (const { kind, items: grown } of shown) {
        say(kind === "list" ? " + [" : kind === "state" ? " + state " : " + {", "", value.i);
        items(grown, kind === "dict", value.i);
        say(kind === "list" ? "]" : kind === "state" ? "" : "}", "", value.i);
      }
      if (shown.length < made.length) say(" + …+" + (made.length - shown.length), "faint", value.i);
    };
    const show = (which) => {
      const value = this.values.get(which);
      if (value === undefined) return say("(", "mark", which);
      if (value.k === "text" || value.k === "number") return say(value.s, value.k, which);
      if (path.includes(which)) {
        const name = Growing.at(value.names, step);
        const dots = { list: "[...]", tuple: "(...)", dict: "{...}", set: "{...}" };
        return say(name === null ? (dots[value.k] ?? "...") : `memo[${name}]`, "faint", which);
      }
      path.push(which);
      const empty = value.items.count(step) === 0;
      if (value.k === "list") between("[", value, "]");
      else if (value.k === "dict") between("{", value, "}");
      else if (value.k === "set") empty ? say("set()", "", which) : between("{", value, "}");
      else if (value.k === "frozenset") {
        if (empty) say("frozenset()", "", which);
        else between("frozenset({", value, "})");
      } else if (value.k === "tuple") {
        between("(", value, value.items.count(step) === 1 && !deep() ? ",)" : ")");
      } else if (value.k === "call") {
        say(value.s, "call", which);
        if (deep()) say("…", "faint", which);
        else call(value);
      } else {
        say(value.s, value.k === "import" ? "call" : "", which);
        if (value.v && value.k === "persistent" && deep()) say("…", "faint", which);
        else if (value.v) show(value.v[0]);
      }
      changes(value);
      path.pop();
    };
    show(id);
    return out;
  }

  text(id, step) {
    return this.pieces(id, step)
      .map(([text]) => text)
      .join("");
  }

  // The stack's entries after a step, from the top down; at most 'max'.
  stack(step, max) {
    const out = [];
    for (let entry = this.stacks[step]; entry !== null && out.length < max; entry = entry.below) out.push(entry);
    return out;
  }

  // [index, id, step of the put], those put last first.
  memoAt(step, max) {
    const seen = new Set();
    const out = [];
    for (let i = this.putsBefore[step] - 1; i >= this.firstPut[step] && out.length < max; i--) {
      const [at, index, id] = this.puts[i];
      if (!seen.has(index)) out.push([index, id, at]);
      seen.add(index);
    }
    return out;
  }

  words(step) {
    return this.steps[step].w ?? this.data.opcodes[this.steps[step].o].meaning;
  }
}

// ---- the page

const ROW_PX = 24;
const STACK_SHOWN = 40;
const MEMO_SHOWN = 100;

class Page {
  constructor(trace) {
    this.trace = trace;
    this.fault = trace.data.fault ?? null;
    this.count = trace.steps.length + (this.fault ? 1 : 0);
    this.here = 0;
    this.build();
    const wanted = Number(location.hash.slice(1)) - trace.data.first;
    this.go(Number.isInteger(wanted) ? wanted : 0);
    document.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("scroll", () => this.drawRows());
    addEventListener("resize", () => this.drawRows());
  }

  make(parent, tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  section(title) {
    const section = this.make(this.state, "section");
    const heading = this.make(section, "h2", "", title + " ");
    return { section, extra: this.make(heading, "span"), values: this.make(section, "ul", "values") };
  }

  build() {
    const { trace } = this;
    const { data } = trace;
    const body = document.body;
    const header = this.make(body, "header");
    const row = this.make(header, "div", "row");
    const title = this.make(row, "h1", "", data.title + " ");
    this.make(title, "small", "", "at work: nothing in it is executed here");
    this.where = this.make(row, "span", "mono");
    const button = (label, hint, to) => {
      const element = this.make(row, "button", "", label);
      element.title = hint;
      element.addEventListener("click", () => this.go(to()));
      return element;
    };
    this.first = button("first", "Home", () => 0);
    this.back = button("◀ back", "left arrow", () => this.here - 1);
    this.forth = button("next ▶", "right arrow", () => this.here + 1);
    this.last = button("last", "End", () => this.count - 1);
    this.slider = this.make(header, "input");
    this.slider.type = "range";
    this.slider.max = Math.max(0, this.count - 1);
    this.slider.setAttribute("aria-label", "opcode");
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    const help = this.make(header, "details");
    help.open = location.hash === "";
    this.make(help, "summary", "", "What am I looking at?");
    for (const text of [
      "A pickle is a program for a small machine. Its instructions, the opcodes, are on the left, each with " +
        "its bytes. The machine has a stack: most opcodes push a value on top of it, or take the topmost " +
        "values and push something built of them. A mark on the stack says where a group of values begins. " +
        "The memo keeps values that are needed again. What is on top of the stack at STOP is the result.",
      "Step with the arrow keys, the buttons or the slider. Click a value to see the opcode that made it. " +
        "Green is what the opcode pushed, yellow what it changed. Red is what would import or call something " +
        "if the pickle were loaded; here that is only shown.",
    ])
      this.make(help, "p", "", text);

    const main = this.make(body, "main");
    this.list = this.make(main, "div");
    this.list.id = "list";
    this.list.tabIndex = 0;
    const digits = (n) => `${String(n).length}ch`;
    const last = data.offset + trace.steps.reduce((sum, step) => sum + step.n, 0);
    this.columns = `${digits(data.first + this.count)} ${digits(last)} 26ch max-content`;
    this.space = this.make(this.list, "div");
    this.rows = this.make(this.list, "div");
    this.rows.id = "rows";
    this.space.style.height = this.count * ROW_PX + (data.note ? 60 : 0) + "px";
    this.state = this.make(main, "div");
    this.state.id = "state";
    const about = this.make(this.state, "section");
    this.words = this.make(about, "p");
    this.words.id = "words";
    this.about = this.make(about, "p");
    this.about.id = "about";
    this.bytes = this.make(about, "p", "mono");
    this.bytes.id = "bytes";
    this.result = this.section("Result");
    this.stack = this.section("Stack");
    this.memo = this.section("Memo");
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = {
      ArrowRight: 1, ArrowDown: 1, j: 1, ArrowLeft: -1, ArrowUp: -1, k: -1, PageDown: 20, PageUp: -20,
      Home: -Infinity, End: Infinity,
    };
    if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    this.go(this.here + moves[event.key]);
  }

  go(index) {
    if (this.count === 0) return;
    this.here = Math.max(0, Math.min(this.count - 1, index));
    this.slider.value = this.here;
    this.first.disabled = this.back.disabled = this.here === 0;
    this.last.disabled = this.forth.disabled = this.here === this.count - 1;
    const { data } = this.trace;
    this.where.textContent = `opcode ${data.first + this.here} of ${data.first + this.count - 1}`;
    history.replaceState(null, "", "#" + (data.first + this.here));
    const top = this.here * ROW_PX;
    if (top < this.list.scrollTop + ROW_PX) this.list.scrollTop = top - 3 * ROW_PX;
    else if (top > this.list.scrollTop + this.list.clientHeight - 3 * ROW_PX)
      this.list.scrollTop = top - this.list.clientHeight + 4 * ROW_PX;
    this.drawRows();
    this.drawState();
  }

  drawRows() {
    const start = Math.max(0, Math.floor(this.list.scrollTop / ROW_PX) - 10);
    const end = Math.min(this.count, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW_PX) + 10);
    this.rows.replaceChildren();
    this.rows.style.top = start * ROW_PX + "px";
    for (let i = start; i < end; i++) {
      const row = this.make(this.rows, "div", "op" + (i === this.here ? " here" : ""));
      row.style.gridTemplateColumns = this.columns;
      row.addEventListener("click", () => this.go(i));
      this.make(row, "span", "n", this.trace.data.first + i);
      if (i === this.trace.steps.length) {
        row.classList.add("fault");
        this.make(row, "span", "o", this.fault.offset);
        this.make(row, "span", "x", this.fault.opcode);
        this.make(row, "span", "name call", "FAULT");
        continue;
      }
      const step = this.trace.steps[i];
      this.make(row, "span", "o", this.trace.offsets[i]);
      const hex = this.make(row, "span", "x");
      this.make(hex, "b", "", step.x.slice(0, 2));
      hex.append(step.x.slice(2));
      const what = this.make(row, "span");
      this.make(what, "span", step.d ? "name call" : "name", this.trace.data.opcodes[step.o].name);
      if (step.a) what.append(" " + step.a);
    }
    if (end === this.count && this.trace.data.note) this.make(this.rows, "div", "note", this.trace.data.note);
  }

  value(parent, id, step) {
    const line = this.make(parent, "span");
    for (const [text, kind, of] of this.trace.pieces(id, step)) {
      const span = this.make(line, "span", "v " + kind, text);
      const made = this.trace.values.get(of);
      if (made === undefined) continue;
      if (made.step < 0) {
        span.title = `made before, at byte ${made.b}`;
        continue;
      }
      span.title = `made by opcode ${this.trace.data.first + made.step}: click to go there`;
      span.addEventListener("click", () => this.go(made.step));
    }
  }

  drawState() {
    const { trace } = this;
    const fault = this.here === trace.steps.length;
    const at = fault ? this.here - 1 : this.here;
    this.bytes.replaceChildren();
    if (fault) {
      this.words.className = "fault";
      this.words.textContent = this.fault.message;
      this.about.textContent =
        `The pickle goes wrong at byte ${this.fault.offset}` +
        (this.fault.opcode ? `, at ${this.fault.opcode}.` : ", where its bytes end.") +
        " Below is the state there.";
      this.bytes.append(this.fault.before + " ");
      this.make(this.bytes, "b", "fault", this.fault.byte);
      this.bytes.append(" " + this.fault.after);
    } else {
      const step = trace.steps[at];
      const opcode = trace.data.opcodes[step.o];
      this.words.className = step.d ? "danger" : "";
      this.words.textContent = trace.words(at);
      this.about.textContent = `${opcode.name}: ${opcode.meaning} Since protocol ${opcode.protocol}.`;
      this.make(this.bytes, "b", "", step.x.slice(0, 2));
      this.bytes.append(step.x.slice(2) + `  (${step.n} ${step.n === 1 ? "byte" : "bytes"} from byte ${trace.offsets[at]} on)`);
    }

    const stop = at >= 0 && !fault && trace.stacks[at] !== null && trace.data.opcodes[trace.steps[at].o].name === "STOP";
    this.result.section.hidden = !stop;
    this.result.values.replaceChildren();
    if (stop) this.value(this.make(this.result.values, "li", "new"), trace.stacks[at].id, at);
    this.drawStack(at, fault, stop);
    this.drawMemo(at, fault);
  }

  drawStack(at, fault, stop) {
    const { trace } = this;
    const { values, extra } = this.stack;
    values.replaceChildren();
    const entries = at < 0 ? [] : trace.stack(at, STACK_SHOWN).slice(stop ? 1 : 0);
    const below = at < 0 ? 0 : (trace.stacks[at]?.height ?? 0) - entries.length - (stop ? 1 : 0) + trace.hidden[at];
    const taken = at < 0 || fault ? 0 : (trace.steps[at].t ?? 0);
    extra.textContent =
      (entries.length ? "the top first" : "empty") + (taken ? `; this opcode took ${taken} off` : "");
    for (const [i, entry] of entries.entries()) {
      const isMark = !trace.values.has(entry.id);
      const isNew = !fault && !stop && entry.step === at;
      const changed = !fault && i === 0 && trace.steps[at].c !== undefined;
      const item = this.make(values, "li", isMark ? "mark" : isNew ? "new" : changed ? "changed" : "");
      if (isMark) item.textContent = "mark: a group begins above";
      else this.value(item, entry.id, at);
    }
    if (below > 0) this.make(values, "li", "none", `… and ${below} more below`);
  }

  drawMemo(at, fault) {
    const { trace } = this;
    const { values, extra } = this.memo;
    values.replaceChildren();
    const entries = at < 0 ? [] : trace.memoAt(at, MEMO_SHOWN + 1);
    const more = entries.length > MEMO_SHOWN;
    extra.textContent = entries.length ? "the latest first" + (more ? `; ${MEMO_SHOWN} are shown` : "") : "empty";
    if (trace.data.memo && at >= 0 && trace.firstPut[at] === 0)
      extra.textContent += `; ${trace.data.memo} earlier entries are not here`;
    for (const [index, id, step] of entries.slice(0, MEMO_SHOWN)) {
      const item = this.make(values, "li", !fault && step === at ? "new" : "");
      this.make(item, "span", "index", `memo[${index}]`);
      this.value(item, id, at);
    }
  }
}

if (typeof document !== "undefined")
  new Page(new Trace(JSON.parse(document.getElementById("trace").textContent)));
