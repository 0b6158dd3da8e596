// A QR code as a picture, made here: its content is a secret.

import { qrcode } from './vendor/qrcode.js';

const SVG = 'http://www.w3.org/2000/svg';
const MARGIN = 4; // modules, ISO/IEC 18004

/**
 * @param {string} content
 * @param {string} label for screen readers
 * @returns {SVGSVGElement}
 */
export function qrPicture(content, label) {
  const code = qrcode(0, 'M');
  code.addData(content);
  code.make();
  const size = code.getModuleCount();
  let path = '';
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) if (code.isDark(y, x)) path += `M${x + MARGIN} ${y + MARGIN}h1v1h-1z`;
  }
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size + 2 * MARGIN} ${size + 2 * MARGIN}`);
  svg.setAttribute('class', 'qr');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  svg.setAttribute('shape-rendering', 'crispEdges');
  const dark = document.createElementNS(SVG, 'path');
  dark.setAttribute('d', path);
  svg.append(dark);
  return svg;
}
