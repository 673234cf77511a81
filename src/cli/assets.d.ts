// Files that are imported for their text.

declare module "*/LICENSE" {
  const text: string;
  export default text;
}

declare module "*.txt" {
  const text: string;
  export default text;
}
