/** A fingerprint that people can compare and lines can fold: hexadecimal digits in groups of eight. */
export function inGroups(hex: string): string {
  return (hex.match(/.{1,8}/g) ?? []).join(' ');
}
