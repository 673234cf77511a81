// Files that are imported for their path.

declare module "*.so" {
  const path: string;
  export default path;
}
