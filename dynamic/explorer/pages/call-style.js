// The style sheet of the pages Method, Live and History. The other pages do not need it.

const link = document.createElement('link');
link.rel = 'stylesheet';
link.href = new URL('method.css', import.meta.url).href;

/** styled resolves when the style sheet has been loaded. */
export const styled = new Promise((resolve) => {
  link.onload = link.onerror = resolve;
  document.head.append(link);
});
