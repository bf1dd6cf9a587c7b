// What the tests use inside a page: it finds the parts of the page by role and name.
globalThis.tester = (() => {
  const roles = {
    button: 'button, summary, input[type=submit], input[type=button], [role=button]',
    checkbox: 'input[type=checkbox], [role=checkbox], [role=switch]',
    combobox: 'select, input[list], [role=combobox]',
    heading: 'h1, h2, h3, h4, [role=heading]',
    link: 'a[href], [role=link]',
    option: 'option, [role=option]',
    radio: 'input[type=radio], [role=radio]',
    row: 'tr, [role=row]',
    textbox: 'textarea, input:not([type]), input[type=text], input[type=search], input[type=number], ' +
      'input[type=datetime-local], [role=textbox], [role=searchbox], [role=spinbutton], [contenteditable=true]',
  };
  const clean = (text) => (text ?? '').replace(/\s+/g, ' ').trim();

  function name(element) {
    const labelledBy = (element.getAttribute('aria-labelledby') ?? '').split(/\s+/).filter(Boolean);
    const candidates = [
      labelledBy.map((id) => document.getElementById(id)?.textContent).join(' '),
      element.getAttribute('aria-label'),
      [...(element.labels ?? [])].map((label) => label.textContent).join(' '),
      element.matches('input, select, textarea') ? '' : element.textContent,
      element.alt, element.title, element.placeholder, element.type === 'submit' ? element.value : '',
    ];
    return clean(candidates.find((candidate) => clean(candidate)));
  }

  // all returns the visible elements with a role and a name. If one has exactly the name, those
  // that only begin with it or contain it are left out.
  function all(role, wanted) {
    const selector = roles[role] ?? `[role=${role}]`;
    const found = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility({visibilityProperty: true}));
    const lower = wanted.toLowerCase();
    const named = found.map((element) => ({element, name: name(element).toLowerCase()}));
    for (const matches of [(n) => n === lower, (n) => n.startsWith(lower), (n) => n.includes(lower)]) {
      const matching = named.filter((n) => matches(n.name)).map((n) => n.element);
      if (matching.length > 0) return matching;
    }
    return [];
  }

  const find = (role, wanted) => all(role, wanted)[0];

  // spot returns the middle of an element in the window, or why it cannot be clicked.
  function spot(role, wanted) {
    const element = find(role, wanted);
    if (!element) return {problem: 'not found'};
    if (element.disabled || element.getAttribute('aria-disabled') === 'true') return {problem: 'disabled'};
    element.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const box = element.getBoundingClientRect();
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const top = document.elementFromPoint(x, y);
    for (let e = top; e; e = e.parentNode) {
      if (e === element) return {x, y};
      if (e.control === element) return {x, y}; // its label lies over it
    }
    return {problem: 'covered by ' + (top?.outerHTML ?? 'nothing').slice(0, 200)};
  }

  // focus puts the focus on an element and selects its content.
  function focus(role, wanted) {
    const element = find(role, wanted);
    if (!element || element.disabled) return false;
    element.focus();
    element.select?.();
    return document.activeElement === element;
  }

  function choose(role, wanted, option) {
    const element = find(role, wanted);
    const chosen = [...(element?.options ?? [])].find((o) => clean(o.textContent) === option || o.value === option);
    if (!chosen) return false;
    element.value = chosen.value;
    element.dispatchEvent(new Event('input', {bubbles: true}));
    element.dispatchEvent(new Event('change', {bubbles: true}));
    return true;
  }

  // text returns what a page shows, with the values of its fields.
  function text() {
    const parts = [document.body?.innerText ?? ''];
    for (const field of document.querySelectorAll('input:not([type=checkbox]), textarea')) parts.push(field.value);
    return parts.join('\n');
  }

  // focused reports whether an element with a role and a name has the focus.
  const focused = (role, wanted) => all(role, wanted).includes(document.activeElement);

  // showsFocus reports whether one can see that the element with the focus has it.
  function showsFocus() {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none';
  }

  return {all, find, spot, focus, focused, showsFocus, choose, text};
})();
