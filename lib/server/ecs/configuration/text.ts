/** A token of CDK, which is known only at deployment. */
export function isToken(text: string): boolean {
  return /\$\{Token\[/.test(text);
}

/** Whether a text is a CIDR block of IPv4 or IPv6. */
export function isCidr(text: string): boolean {
  const [address, length, ...rest] = text.split('/');
  if (rest.length > 0 || !/^\d{1,3}$/.test(length ?? '')) return false;
  const isV4 = /^(\d{1,3}\.){3}\d{1,3}$/.test(address) && address.split('.').every((part) => Number(part) <= 255);
  const isV6 = address.includes(':') && /^[0-9a-f:]+$/i.test(address);
  return (isV4 && Number(length) <= 32) || (isV6 && Number(length) <= 128);
}

/** In an error message. */
export function show(value: string): string {
  return JSON.stringify(value);
}
