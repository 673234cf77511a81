// Elements of the page.

/** The element of an id, which the page has. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A new element. Texts among its children are texts, whatever is in them. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Shows a text, if it is another one: screen readers and selections are left alone otherwise. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows terms with their texts as a list. Elements stay where they are as long as there are as many terms. */
export function setFacts(list: HTMLElement, facts: readonly (readonly [term: string, text: string])[]): void {
  if (list.children.length !== facts.length) {
    list.replaceChildren(...facts.map(() => element("div", {}, element("dt"), element("dd"))));
  }
  for (const [at, [term, text]] of facts.entries()) {
    const [name, value] = list.children[at]?.children ?? [];
    if (name !== undefined) setText(name, term);
    if (value !== undefined) setText(value, text);
  }
}

/** Calls `action` when the button of an id is pressed. */
export function onPress(id: string, action: () => void): void {
  byId(id).addEventListener("click", action);
}
