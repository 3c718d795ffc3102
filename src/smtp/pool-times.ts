/** How long and how often a pool does what. */
export interface PoolTimes {
  /** Copies sent over one connection before it is replaced. */
  readonly copiesPerConnection: number;
  /** How long a connection is kept without work, in ms. */
  readonly idleMs: number;
  /** How long a relay found out of order is left alone before it is tried again, in ms; twice as long each time. */
  readonly downMs: number;
  /** At most so long. */
  readonly longestDownMs: number;
  /** How long a copy may stand in line because of the relay's rate, in ms; others are to come back later. */
  readonly lineMs: number;
}

/** What holds unless a test says otherwise. */
export const defaultTimes: PoolTimes = {
  copiesPerConnection: 100,
  idleMs: 10_000,
  downMs: 10_000,
  longestDownMs: 300_000,
  lineMs: 2000,
};
