// The browser for completions. What models wrote enters the page as text nodes only, never as HTML.
(async () => {
  const packed = document.getElementById("completions-data");
  if (!packed) return;
  const PER_PAGE = 10;
  const $ = (id) => document.getElementById(id);
  const controls = $("controls");
  const bytes = Uint8Array.from(atob(packed.textContent.trim()), (c) => c.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(unpacked).text());
  const tag = data.tags.map((name) => name.replace(/[.*+?^$()|[\]\\{}]/g, "\\$&"));
  const blocks = new RegExp("(<(" + tag.join("|") + ")>)([\\s\\S]*?)(</\\2>|$)", "g");
  let found = [];
  let page = 0;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children.filter((child) => child !== null));
    return made;
  };

  // What a model or a dataset says, amid our words: it keeps its own direction.
  const said = (className, ...children) => element("bdi", className, ...children);

  const options = (select, values, chosen) => {
    select.replaceChildren(...values.map(([value, label]) => new Option(label, value, false, value === chosen)));
  };

  const dataset = () => data.datasets[Number(controls.dataset.value)];

  const fillModels = () => {
    const models = Object.keys(dataset().models);
    const left = models.includes(controls.left.value) ? controls.left.value : models[0];
    const before = controls.right.value || models[models.length - 1];
    options(controls.left, models.map((name) => [name, name]), left);
    options(controls.right, [["", "nothing"], ...models.map((name) => [name, name])], models.includes(before) ? before : "");
    const most = Math.max(0, ...models.map((name) => Math.max(0, ...dataset().models[name].map((all) => all.length))));
    const samples = Array.from({ length: most }, (_, i) => [String(i), i === 0 ? "greedy" : "sample " + i]);
    options(controls.sample, samples, samples.some(([value]) => value === controls.sample.value) ? controls.sample.value : "0");
  };

  const isShown = {
    all: () => true,
    right: (left) => left.right,
    wrong: (left) => !left.right,
    changed: (left, right) => right && left.right !== right.right,
    gained: (left, right) => right && !left.right && right.right,
    lost: (left, right) => right && left.right && !right.right,
  };

  const filter = (at = 0) => {
    const { problems, models } = dataset();
    const sample = Number(controls.sample.value);
    const wanted = isShown[controls.show.value];
    const query = controls.query.value.toLowerCase();
    found = [];
    problems.forEach((problem, i) => {
      const left = models[controls.left.value][i][sample];
      const right = controls.right.value ? models[controls.right.value][i][sample] : null;
      if (!left || !wanted(left, right)) return;
      if (query) {
        const texts = [problem.id, problem.question, problem.reference_answer, left.text, left.answer, right?.text, right?.answer];
        if (!texts.some((text) => text && text.toLowerCase().includes(query))) return;
      }
      found.push({ problem, left, right });
    });
    page = Math.min(Math.max(0, at), Math.max(0, Math.ceil(found.length / PER_PAGE) - 1));
    render();
  };

  // The text with each hit of the search marked, else with its formulas set. alone: it may be a formula itself.
  const marked = (text, alone = false) => {
    const query = controls.query.value.toLowerCase();
    const lower = text.toLowerCase();
    const hit = query && lower.length === text.length && lower.includes(query); // a few letters grow in lower case
    if (!hit) return typeof withFormulas === "function" ? withFormulas(text, alone) : [text];
    const parts = [];
    let end = 0;
    for (let at = lower.indexOf(query); at >= 0; at = lower.indexOf(query, end)) {
      parts.push(text.slice(end, at), element("mark", "", text.slice(at, at + query.length)));
      end = at + query.length;
    }
    return [...parts, text.slice(end)];
  };

  // Reasoning and answer set off from their tags and from the rest; the parts joined are the completion.
  const parts = (text) => {
    const made = [];
    let end = 0;
    for (const block of text.matchAll(blocks)) {
      const kind = block[2] === data.tags[0] ? "reasoning" : "answer";
      made.push(said("", ...marked(text.slice(end, block.index))), element("span", "tag", block[1]));
      made.push(said(kind, ...marked(block[3], kind === "answer")));
      if (block[4]) made.push(element("span", "tag", block[4]));
      end = block.index + block[0].length;
    }
    return [...made, said("", ...marked(text.slice(end)))];
  };

  const side = (name, completion) => {
    if (!completion) return element("div", "", element("p", "soft", name + " has no such completion"));
    const verdict = element("span", completion.right ? "right" : "wrong", completion.right ? "✓ right" : "✗ wrong");
    const facts = [completion.tokens + " tokens", completion.cut ? "cut off" : "", completion.strict ? "strict" : ""];
    const answer = completion.answer === null ? "no answer found" : said("", ...marked(completion.answer, true));
    const how = completion.strategy ? " (" + completion.strategy.replaceAll("_", " ") + ")" : "";
    const rewards = Object.entries(completion.rewards).map(([reward, value]) =>
      element("span", "", reward.replaceAll("_", " ") + " ", element("b", "", value === null ? "–" : String(value))));
    return element("div", "",
      element("p", "verdict", element("b", "", name), " ", verdict, " ", element("span", "soft", facts.filter(Boolean).join(", "))),
      element("p", "", "answer: ", answer, element("span", "soft", how)),
      element("pre", "completion", ...parts(completion.text)),
      element("div", "rewards", ...rewards));
  };

  const render = () => {
    const total = dataset().problems.length;
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    $("found").textContent = found.length.toLocaleString("en") + " of " + total.toLocaleString("en") + " problems";
    $("problems").replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(({ problem, left, right }) => {
      const sides = [side(controls.left.value, left)];
      if (controls.right.value) sides.push(side(controls.right.value, right));
      const source = problem.source ? [" · ", said("", problem.source)] : [];
      return element("article", "problem",
        element("p", "question", ...marked(problem.question)),
        element("p", "soft", "reference answer: ", element("b", "", said("", ...marked(problem.reference_answer, true))), " · problem " + problem.id, ...source),
        element("div", "sides", ...sides));
    }));
    $("pages").hidden = pages === 1;
    $("page").textContent = "page " + (page + 1) + " of " + pages.toLocaleString("en");
    $("previous").disabled = page === 0;
    $("next").disabled = page === pages - 1;
    $("link").href = address();
  };

  // What is shown, as a link to it: #completions?dataset=sums&left=base&…
  const KEPT = ["left", "right", "sample", "show", "query"];
  const address = () => {
    const kept = KEPT.map((name) => [name, controls[name].value]).filter(([name, value]) => value || name === "right");
    return "#completions?" + new URLSearchParams([["dataset", dataset().name], ...kept, ["page", page + 1]]);
  };

  // Shows what the address says, as far as it is here; false if it says nothing.
  const follow = () => {
    if (!location.hash.startsWith("#completions?")) return false;
    const asked = new URLSearchParams(location.hash.slice("#completions?".length));
    const at = data.datasets.findIndex(({ name }) => name === asked.get("dataset"));
    if (at >= 0) controls.dataset.value = String(at);
    fillModels();
    for (const name of KEPT) {
      const value = asked.get(name);
      const there = name === "query" || [...controls[name]].some((option) => option.value === value);
      if (value !== null && there) controls[name].value = value;
    }
    filter(Number(asked.get("page")) - 1 || 0);
    $("completions").scrollIntoView();
    return true;
  };

  const turn = (by) => {
    page += by;
    render();
    history.replaceState(null, "", address());
    $("completions").scrollIntoView();
  };

  if (!data.datasets.length) return;
  options(controls.dataset, data.datasets.map(({ name }, i) => [String(i), name]), "0");
  fillModels();
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    if (event.target.name === "dataset") fillModels();
    filter();
  });
  controls.addEventListener("change", () => history.replaceState(null, "", address())); // not at each letter
  addEventListener("hashchange", follow);
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  controls.hidden = $("link").hidden = false;
  if (!follow()) filter();
})().catch((error) => {
  document.getElementById("found").textContent = "The completions cannot be shown: " + error;
});
