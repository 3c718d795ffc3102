import { cmsLimits } from '../cms/limits.ts';

/** What opening one message may cost (RULES 7 and 8), beside what `cms/limits` counts inside one CMS structure. */
export const openLimits = {
  /** Layers of encryption, signature and compression, from outside in. */
  depth: 10,
  /** Addresses of lists, responders and issuers that one message may make us look at. */
  wanted: 10,
  /** Signature values tried, over all layers. */
  signers: cmsLimits.signers,
  /** Over all layers: each costs milliseconds, and anybody can encrypt to the list once more around it. */
  privateKeyOperations: cmsLimits.privateKeyOperations,
} as const;
