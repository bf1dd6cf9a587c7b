// Templates of HTML that escape every value.
//
//   render(html`<p class="note ${tone}" ?hidden=${none} @click=${close}>${text}</p>`, root)
//
// A value in the content may be text, a number, a template, a node, or an array of these; null,
// undefined and booleans show nothing. An attribute whose value is null, undefined or false is
// removed. These attributes are special, and take exactly one value:
//
//   ?name=${condition}   a boolean attribute      @name=${listener}  an event listener
//   .name=${value}       a property               ref=${function}    is called once with the element
//   style=${{width: w}}  properties of the style, since the page's policy forbids style attributes
//
// Rendering the same template into the same root again changes only the values that differ. This
// keeps focus, selection and what the user has typed. A tag in a template must not contain ">" in
// an attribute.

const parsed = new WeakMap();
const roots = new WeakMap();

/** html makes a template for render. */
export const html = (strings, ...values) => ({ strings, values, svg: false });

/** svg makes a template whose elements belong inside an svg element. */
export const svg = (strings, ...values) => ({ strings, values, svg: true });

/** render shows a template, or another value of content, as the only content of an element. */
export function render(value, root) {
  let slot = roots.get(root);
  if (slot?.end.parentNode !== root) {
    root.replaceChildren(new Text());
    roots.set(root, slot = new Slot(root.lastChild));
  }
  slot.set(value);
}

// parse converts the strings of a template to a template element, in which comments and markers
// stand for the values. places lists the places of the values in document order. A place consists
// of the number of the node and, for an attribute, its name and the texts between its values.
function parse({ strings, svg }) {
  let known = parsed.get(strings);
  if (known) return known;
  let source = strings[0];
  const names = [];
  strings.slice(1).forEach((text, i) => {
    const inTag = source.lastIndexOf('<') > source.lastIndexOf('>');
    // The HTML parser converts names to lower case, so remember the original name. Text may stand
    // between the name and the value.
    names[i] = inTag ? /([^\s"'<>=]+)=(?:"[^"]*|'[^']*)?$/.exec(strings[i])?.[1] : undefined;
    // The page's content security policy forbids style attributes, even in a template.
    if (names[i] === 'style') source = source.replace(/style=["']?$/, 'data-$&');
    source += (inTag ? `\u2063${i}\u2063` : `<!--\u2063${i}-->`) + text;
  });
  const element = document.createElement('template');
  element.innerHTML = svg ? `<svg>${source}</svg>` : source;
  if (svg) element.content.replaceChildren(...element.content.firstChild.childNodes);
  const places = [];
  walk(element.content).forEach((node, number) => {
    if (node.nodeType === Node.COMMENT_NODE) {
      if (node.data.startsWith('\u2063')) places.push({ number });
      return;
    }
    for (const { name, value } of [...node.attributes]) {
      const parts = value.split(/\u2063(\d+)\u2063/);
      if (parts.length === 1) continue;
      node.removeAttribute(name);
      places.push({ number, name: names[parts[1]] ?? name, texts: parts.filter((_, i) => i % 2 === 0) });
    }
  });
  parsed.set(strings, known = { element, places });
  return known;
}

// walk lists all elements and comments of a fragment in document order.
function walk(fragment) {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

// Instance is a template that is in the document.
class Instance {
  constructor(result) {
    const { element, places } = parse(result);
    this.strings = result.strings;
    this.fragment = document.importNode(element.content, true);
    const nodes = walk(this.fragment);
    this.parts = places.map(({ number, name, texts }) =>
      name ? new Attribute(nodes[number], name, texts) : new Slot(nodes[number]));
    this.update(result.values);
  }

  update(values) {
    let next = 0;
    for (const part of this.parts) {
      if (part instanceof Slot) part.set(values[next++]);
      else part.set(values.slice(next, next += part.count));
    }
  }
}

// Slot is a place for a value in the content. Its nodes are those between start and end.
class Slot {
  constructor(end) {
    this.end = end;
    this.start = end.parentNode.insertBefore(new Text(), end);
  }

  set(value) {
    if (value?.strings) {
      if (this.instance?.strings === value.strings) return this.instance.update(value.values);
      this.clear();
      this.instance = new Instance(value);
      this.end.before(this.instance.fragment);
    } else if (Array.isArray(value)) {
      if (!this.items) this.clear();
      this.items ??= [];
      while (this.items.length > value.length) this.items.pop().remove();
      value.forEach((item, i) => {
        this.items[i] ??= new Slot(this.end.parentNode.insertBefore(new Text(), this.end));
        this.items[i].set(item);
      });
    } else if (value instanceof Node) {
      if (this.node === value) return;
      this.clear();
      this.end.before(this.node = value);
    } else {
      const text = value == null || typeof value === 'boolean' ? '' : String(value);
      if (!this.text) {
        this.clear();
        this.end.before(this.text = new Text());
      }
      if (this.text.data !== text) this.text.data = text;
    }
  }

  clear() {
    while (this.start.nextSibling !== this.end) this.start.nextSibling.remove();
    this.instance = this.items = this.node = this.text = undefined;
  }

  remove() {
    this.clear();
    this.start.remove();
    this.end.remove();
  }
}

// Attribute is an attribute, property or listener with one or more values.
class Attribute {
  constructor(element, name, texts) {
    this.element = element;
    this.kind = name === 'ref' || name === 'style' ? name : '?@.'.includes(name[0]) ? name[0] : '';
    this.name = '?@.'.includes(this.kind) ? name.slice(this.kind.length) : name;
    this.texts = texts;
    this.count = texts.length - 1;
    if (this.kind === '@') element.addEventListener(this.name, this);
  }

  handleEvent(event) { this.last?.call(this.element, event); }

  set(values) {
    const value = this.count === 1 && this.texts.every((text) => !text)
      ? values[0] : this.texts.reduce((all, text, i) => all + (values[i - 1] ?? '') + text);
    const { element, kind, name, last } = this;
    this.last = value;
    if (kind === '.') {
      // The user may have changed the value or the state, so compare with the present one.
      const before = name === 'value' || name === 'checked' ? element[name] : last;
      if (before !== value) element[name] = value;
    } else if (kind === 'style') {
      for (const [key, text] of Object.entries(value ?? {})) element.style.setProperty(key, text);
    } else if (kind === 'ref') {
      if (!last) value(element);
    } else if (kind === '?') {
      element.toggleAttribute(name, Boolean(value));
    } else if (kind === '' && value !== last) {
      if (value == null || value === false) element.removeAttribute(name);
      else element.setAttribute(name, value === true ? '' : value);
    }
  }
}
