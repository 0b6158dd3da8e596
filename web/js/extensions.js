// Header extensions of RTP that browsers know, but do not offer by themselves.

/** Layered AV1 cannot be decoded without it. */
export const DEPENDENCY_DESCRIPTOR = /#dependency-descriptor-rtp-header-extension$/;
/** When a frame was captured, which tells the way from lens to screen. */
export const CAPTURE_TIME = /\/abs-capture-time$/;

/**
 * Offers them where the browser can. Before the offer is made.
 * @param {any} transceiver
 * @param {...RegExp} wanted what their URIs look like
 */
export function takeExtensions(transceiver, ...wanted) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.();
  if (!extensions) return;
  for (const e of extensions) if (wanted.some((uri) => uri.test(e.uri))) e.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
