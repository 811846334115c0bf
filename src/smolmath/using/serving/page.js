// Sets the formulas of what is written to its end; before that half of one would come and go.
new MutationObserver(() => {
  for (const done of document.querySelectorAll(".solution.done:not([data-set])")) {
    done.dataset.set = "";
    for (const text of done.querySelectorAll(".reasoning, bdi")) {
      text.replaceChildren(...withFormulas(text.textContent, text.matches("bdi")));
    }
  }
}).observe(document, { childList: true, subtree: true });
