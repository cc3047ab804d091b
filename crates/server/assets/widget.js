// <surefoot-progress src="https://.../widget/RUN/progress?..."></surefoot-progress>: shows a run's
// progress on any page, authorized by a signed link. Polls every two seconds until the run has ended,
// then fires `surefoot-ended`.

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  :host { display: block; font: 14px/20px system-ui, sans-serif; color-scheme: light dark; }
  progress { width: 100%; height: 8px; accent-color: light-dark(#0a58a8, #7ab7ff); }
  ol { margin: 8px 0 0; padding-left: 20px; }
  li[data-status="running"] { font-weight: 600; }
  li[data-status="pending"] { opacity: .75; }
`);

const PERIOD = 2000;

class SurefootProgress extends HTMLElement {
  static observedAttributes = ["src"];
  #timer = 0;
  // The latest request; responses to earlier ones are ignored.
  #turn = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    root.append(
      Object.assign(document.createElement("div"), { id: "title" }),
      Object.assign(document.createElement("progress"), { max: 100, value: 0 }),
      Object.assign(document.createElement("div"), { id: "say" }),
      document.createElement("ol"),
    );
    root.querySelector("#say").setAttribute("aria-live", "polite");
  }

  connectedCallback() {
    this.#soon(0);
  }

  disconnectedCallback() {
    this.#turn += 1;
    clearTimeout(this.#timer);
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#soon(0);
  }

  // A new element gets its attribute and its connection as two callbacks, which cause a single request.
  #soon(wait) {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(this.#turn), wait);
  }

  async #look(turn) {
    const src = this.getAttribute("src");
    if (!src) return;
    let again = true;
    try {
      const answer = await fetch(src, { credentials: "omit", cache: "no-store" });
      if (answer.status === 403 || answer.status === 404) again = false;
      if (!answer.ok) throw new Error(answer.statusText);
      const run = await answer.json();
      if (turn !== this.#turn) return;
      this.#show(run);
      again = !run.ended;
      if (run.ended) this.dispatchEvent(new CustomEvent("surefoot-ended", { detail: run, bubbles: true }));
    } catch {
      // The next request may succeed.
    }
    if (again && turn === this.#turn) this.#soon(PERIOD);
  }

  #show(run) {
    const root = this.shadowRoot;
    root.querySelector("#title").textContent = run.name;
    const bar = root.querySelector("progress");
    bar.value = run.progress;
    bar.setAttribute("aria-label", run.name);
    root.querySelector("#say").textContent = `${run.status_text} \u00b7 ${run.progress} %`;
    root.querySelector("ol").replaceChildren(
      ...run.steps.map((step) => {
        const item = Object.assign(document.createElement("li"), { textContent: `${step.title} \u00b7 ${step.status_text}` });
        item.dataset.status = step.status;
        return item;
      }),
    );
  }
}

customElements.define("surefoot-progress", SurefootProgress);
