// Line icons, 24 by 24.

const SVG = 'http://www.w3.org/2000/svg';

/** @type {Record<string, string>} path data; stroked unless the name is in FILLED */
const PATHS = {
  camera: 'M3 8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2zM15 11l6-3.5v9L15 13',
  view: 'M2 12s3.5-7 10-7 10 7 10 7-3.5 7-10 7-10-7-10-7zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z',
  home: 'M4 11l8-7 8 7v8a1 1 0 0 1-1 1h-4.500v-6h-5v6H5a1 1 0 0 1-1-1z',
  film: 'M4 5h16a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zM7.500 5v14M16.500 5v14M3 9.500h4.500M3 14.500h4.500M16.500 9.500H21M16.500 14.500H21',
  sun: 'M12 16.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM12 2v2M12 20v2M4.900 4.900l1.400 1.400M17.700 17.700l1.400 1.400M2 12h2M20 12h2M4.900 19.100l1.400-1.400M17.700 6.300l1.400-1.400',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
  user: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 20.500c1-4 4.200-6 8-6s7 2 8 6',
  mic: 'M12 14.500a3 3 0 0 0 3-3v-5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3zM5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3',
  micOff: 'M15 9.500v-3a3 3 0 0 0-5.700-1.300M9 9v2.500a3 3 0 0 0 4.800 2.400M5.500 11.500a6.500 6.500 0 0 0 10.800 4.900M18.500 11.500c0 .7-.1 1.400-.3 2M12 18v3M3.500 3.500l17 17',
  sound: 'M11 5L6.500 9H3v6h3.500L11 19zM15 9a4.200 4.200 0 0 1 0 6M17.800 6.200a8.200 8.200 0 0 1 0 11.600',
  soundOff: 'M11 5L6.500 9H3v6h3.500L11 19zM16 9.500l5 5M21 9.500l-5 5',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  pip: 'M4 5h16a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zM12.500 12.500H18V16h-5.500z',
  shot: 'M4 8h3.500l1.500-2.500h6L16.500 8H20a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1zM12 16.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7z',
  stop: 'M7 7h10v10H7z',
  play: 'M8 5.500v13l10.500-6.500z',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  trash: 'M4 7h16M9.500 7V4.500h5V7M6 7l1 13h10l1-13M10 11v5.500M14 11v5.500',
  download: 'M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14',
  close: 'M6 6l12 12M18 6L6 18',
  chart: 'M4 20V4M4 20h16M8 16l4-5 3 3 5-7',
  out: 'M14 4h5a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1h-5M10 8l-4 4 4 4M6 12h9',
  alert: 'M12 4L2.500 20h19zM12 10v4.500M12 17.300h.01',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.500M12 7.700h.01',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  flip: 'M12 3v18M8.500 7L3 17h5.500zM15.500 7L21 17h-5.500z',
  bars: 'M4 5h16v14H4zM8 5v14M12 5v14M16 5v14',
  link: 'M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.700-5.700l-1.200 1.200M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.700 5.700l1.200-1.200',
  wake: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3.500 2',
  pulse: 'M3 12h4l2.500-6.500 4.500 13 2.500-6.500H21',
  bell: 'M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 2h-15zM10 21h4',
  again: 'M20 11a8 8 0 1 0-2.300 6.500M20 5v6h-6',
  key: 'M8 15.500a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 11.500h9M18 11.500v3.500M21 11.500v2',
  shield: 'M12 3l7.500 2.500v6c0 4.500-3 7.700-7.500 9.500-4.500-1.800-7.500-5-7.500-9.500v-6zM8.800 12l2.300 2.300 4.200-4.300',
  mail: 'M4 6h16v12H4zM4 7l8 6 8-6',
  screen: 'M4 5h16v11H4zM9 20h6M12 16v4',
  steer: 'M12 3v18M3 12h18M9.500 5.500L12 3l2.500 2.500M9.500 18.500L12 21l2.500-2.500M5.500 9.500L3 12l2.500 2.500M18.500 9.500L21 12l-2.500 2.500',
  light: 'M9 17.500h6M10 20.500h4M12 3.500a6 6 0 0 0-3.500 10.900c.7.5 1 1.200 1 2.100h5c0-.9.3-1.600 1-2.100A6 6 0 0 0 12 3.500z',
  lock: 'M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3',
};
const FILLED = new Set(['play', 'stop']);

/**
 * @param {keyof typeof PATHS} name
 * @returns {SVGSVGElement} decorative: its button carries the label
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', FILLED.has(name) ? 'icon filled' : 'icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
