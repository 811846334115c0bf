
// The text as nodes, its formulas set. What is no formula, or none that Temml reads, stays the text that it is; a lone
// $ is money, so by pandoc's rule $…$ neither begins nor ends with a space, and no digit follows.
// alone: a text without delimiters is a formula if it looks like one, as answers are.
const withFormulas = (text, alone = false) => {
  const DELIMITED = /\$\$([^]+?)\$\$|\\\[([^]+?)\\\]|\\\(([^]+?)\\\)|(?<![\\$\w])\$(?=[^\s$])([^$\n]*?[^\s\\$])\$(?![\d$])/g;
  const set = (tex, shown, display) => {
    if (tex.length > 2000) return shown; // more than a reader reads, and it takes time
    const made = document.createElement("span");
    made.className = "formula";
    made.title = shown;
    try {
      temml.render(tex, made, { displayMode: display, throwOnError: true, trust: false, maxExpand: 100 });
    } catch {
      return shown;
    }
    return made;
  };
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(DELIMITED)) {
    const tex = found.slice(1).find((group) => group !== undefined);
    nodes.push(text.slice(end, found.index), set(tex, found[0], found[0].startsWith("$$") || found[0].startsWith("\\[")));
    end = found.index + found[0].length;
  }
  nodes.push(text.slice(end));
  if (!alone || end > 0 || !/\\[a-zA-Z]|[\^_]\S/.test(text)) return nodes;
  const [, before, tex, after] = text.match(/^(\s*)([^]*?)(\s*)$/);
  return [before, set("\\displaystyle " + tex, tex, false), after];
};
