/** Checks that every policy has units to charge. For stores. @throws RangeError */
export function checkUnits(policies: readonly unknown[], units: readonly number[]): void {
  for (let i = 0; i < policies.length; i++) {
    const charged = units[i];
    if (!Number.isInteger(charged) || (charged as number) < 1) {
      throw new RangeError(`gatewarden: quota units must be a positive integer for each policy, got ${charged}`);
    }
  }
}

/** Checks what an admission is settled to. For stores. @throws RangeError */
export function checkSettledUnits(units: readonly (number | undefined)[]): void {
  for (const settled of units) {
    if (settled !== undefined && (!Number.isSafeInteger(settled) || settled < 0)) {
      throw new RangeError(`gatewarden: settled quota units must be a whole number, 0 or more, got ${settled}`);
    }
  }
}
