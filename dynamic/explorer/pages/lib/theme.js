// This script runs before the page is drawn, so that the page does not first appear in the wrong
// colors.
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem('psrpc.explorer.theme'));
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch { /* The colors of the system apply. */ }
})();
