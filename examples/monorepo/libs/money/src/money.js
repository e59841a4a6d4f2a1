/** Cents of a decimal amount, `"12.30"`; exact, as money is no floating-point number. */
export function cents(amount) {
  const parts = /^(\d+)(?:\.(\d{2}))?$/.exec(amount);
  if (!parts) throw new RangeError(`${JSON.stringify(amount)} is not an amount like "12.30"`);
  return Number(parts[1]) * 100 + Number(parts[2] ?? 0);
}

/** The amount of so many cents. */
export function amount(cents) {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}
