// Tells the service the viewer's time zone before anything is drawn: no module, so that nothing jumps.
// Without it times are in UTC, as the header of the column says.
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && document.documentElement.dataset.tz !== zone) {
    document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=lax`;
    // Once per zone: where cookies are refused the page must not load for ever.
    if (sessionStorage.getItem("tz") !== zone) {
      sessionStorage.setItem("tz", zone);
      location.replace(location.href);
    }
  }
}
