// Light, dark, or what the system says; remembered.

const STORED = 'flashsale.theme';
export const THEMES = ['auto', 'light', 'dark'];

/** The theme that was chosen. */
export function storedTheme() {
  const theme = localStorage.getItem(STORED);
  return THEMES.includes(theme) ? theme : 'auto';
}

/** Shows a theme; whoever draws by colour hears `themechange`. */
export function showTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem(STORED, theme);
  document.dispatchEvent(new Event('themechange'));
}

/** The colour a token of tokens.css has now. */
export function color(token) {
  const probe = document.createElement('i');
  probe.style.setProperty('color', `var(${token})`);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Calls `draw` whenever colours change, by choice or by the system; what it returns ends that. */
export function onColors(draw) {
  const system = matchMedia('(prefers-color-scheme: dark)');
  document.addEventListener('themechange', draw);
  system.addEventListener('change', draw);
  return () => {
    document.removeEventListener('themechange', draw);
    system.removeEventListener('change', draw);
  };
}
